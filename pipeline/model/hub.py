"""Downloads the gated facebook/sam3 from the Hugging Face hub; each failure says what to do."""

import errno
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pipeline.errors import WeightsUnavailable


REPOSITORY: Final = "facebook/sam3"

#: What loading needs; the repository also has Meta's own file of 3.4 GB.
FILES: Final = ["*.json", "merges.txt", "model*.safetensors"]

_REFUSED: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

_OR_LOCAL: Final = "Or set SAM3_WEIGHTS_PATH to a copy of the weights."


def fetch(token: str | None) -> Path:
    """
    Give the local directory of facebook/sam3, downloading it the first time.

    Raises:
        WeightsUnavailable: no token, no licence, no network, no room.

    """
    from huggingface_hub import get_token, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        kept = Path(snapshot_download(REPOSITORY, allow_patterns=FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        kept = None
    # A download that was cut off leaves a folder without the weights.
    if kept is not None and any(kept.glob("model*.safetensors")):
        return kept
    token = token or get_token()
    if not token:
        message = (
            f"No weights: SAM3_WEIGHTS_PATH and HF_TOKEN are empty. Accept the licence of"
            f" {REPOSITORY} on the Hugging Face hub and set HF_TOKEN. {_OR_LOCAL}"
        )
        raise WeightsUnavailable(message)
    try:
        return Path(snapshot_download(REPOSITORY, allow_patterns=FILES, token=token))
    except Exception as error:  # the network raises errors of many types
        raise WeightsUnavailable(advice(error)) from error


def advice(error: Exception, *, repository: str = REPOSITORY, token: bool = True) -> str:
    """Say what to do about a failed download; *token* tells whether one was sent."""
    return f"{_reason(error, repository, token=token)} {_OR_LOCAL}"


def _reason(error: Exception, repository: str, *, token: bool) -> str:
    """Say what went wrong and what to do next."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == HTTPStatus.NOT_FOUND:
        return f"The Hugging Face hub has no {repository}, or hides it from this account."
    if not token and status in _REFUSED:
        return (
            f"{repository} is gated, and HF_TOKEN is empty. Accept its licence on"
            " the Hugging Face hub and set HF_TOKEN to a token of that account."
        )
    if isinstance(error, errors.GatedRepoError) or status == HTTPStatus.FORBIDDEN:
        return (
            f"HF_TOKEN may not read {repository} yet. Open its page on the Hugging Face hub with"
            " that account, accept the licence, wait for the approval, and allow the token to read"
            " gated repositories."
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status == HTTPStatus.UNAUTHORIZED:
        return (
            f"The Hugging Face hub does not accept HF_TOKEN. Make a new one that may read"
            f" {repository}."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return f"The Hugging Face hub answered with an error ({error}). Start again later."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"The disk is full, or out of disk quota: {repository} needs 3.4 GB. Make room."
    return (
        f"{repository} could not be downloaded ({type(error).__name__}): this machine seems to be"
        " offline or out of disk. Check both and start again."
    )
