"""To the object store: the pictures first, the manifest last."""

import asyncio
from dataclasses import dataclass

from adapters import objects
from listener import errors
from listener.lease_store import Claim
from listener.segment import Segmented
from listener.task_objects import TaskObjects
from s3_sam3.contracts import object_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Keys of what was stored."""

    manifest_url: str
    mask_image_url: str
    overlay_image_url: str


async def deposit(claim: Claim, segmented: Segmented, store: TaskObjects) -> Deposit:
    """
    Store the result under the claim's token, so that only settling makes it visible.

    Raises: StorageUnavailable.
    """
    sizes = {
        object_keys.MASK: len(segmented.mask_png),
        object_keys.OVERLAY: len(segmented.overlay_webp),
        object_keys.MANIFEST: len(segmented.manifest_json),
    }
    store.announce(claim, sizes)
    try:
        mask, overlay = await asyncio.gather(
            store.write_result(claim, object_keys.MASK, segmented.mask_png, "image/png"),
            store.write_result(claim, object_keys.OVERLAY, segmented.overlay_webp, "image/webp"),
        )
        manifest = await store.write_result(
            claim, object_keys.MANIFEST, segmented.manifest_json, "application/json"
        )
    except objects.ObjectError as error:
        raise errors.StorageUnavailable(f"could not write: {error}") from error
    return Deposit(manifest_url=manifest, mask_image_url=mask, overlay_image_url=overlay)
