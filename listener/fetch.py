"""From the object store: the picture's bytes."""

from adapters import objects
from listener import errors
from listener.lease_store import Claim
from listener.task_objects import TaskObjects
from s3_sam3.contracts.errors import ErrorCode


async def fetch(claim: Claim, store: TaskObjects) -> bytes:
    """
    Read the claim's picture.

    Raises: SourceNotFound, StorageUnavailable, PipelineRefused (the picture is too large).
    """
    try:
        return await store.read_source(claim)
    except objects.ObjectNotFound as error:
        raise errors.SourceNotFound from error
    except objects.ObjectTooLarge as error:
        raise errors.PipelineRefused(ErrorCode.FILE_TOO_LARGE, "too many bytes") from error
    except objects.ObjectError as error:
        raise errors.StorageUnavailable(f"could not read: {error}") from error
