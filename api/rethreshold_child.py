"""
The child process that decides a result again: `python -m api.rethreshold_child`.

The memory holds one line (a Cut as JSON) and then a manifest; the answer takes their place. The
manifest comes from a GPU host that may be rented, and its masks go through native code that holds
the interpreter's lock, so none of it is touched in the API's own process.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ValidationError

from s3_sam3.contracts.bodies import Rethresholded, RethresholdRequest
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.imaging.choose import RethresholdError, rethreshold
from sandbox.child import SealedMemory, serve


Ending = Literal["done", "refused", "unreadable"]
"""The text is a Rethresholded as JSON, or says what is wrong with request or manifest."""


class Cut(BaseModel):
    """What is to be done; the manifest follows."""

    task_id: UUID
    request: RethresholdRequest


def decide(asked: bytes, manifest: bytes) -> tuple[Ending, str]:
    """Decide *manifest* again as *asked*."""
    cut = Cut.model_validate_json(asked)
    try:
        stored = Manifest.model_validate_json(manifest)
    except ValidationError as error:
        # Without the values: the text of a prompt must not get into a log.
        fault = error.errors(include_input=False, include_context=False)[0]
        return "unreadable", f"{fault['loc']}: {fault['type']}"
    try:
        decided = rethreshold(stored, cut.request)
    except RethresholdError as error:
        return "refused", str(error)
    return "done", Rethresholded(task_id=cut.task_id, manifest=decided).model_dump_json()


def answer(request: dict[str, int], memory: SealedMemory) -> dict[str, Any]:
    """Put what came of it in the place of request and manifest."""
    asked, _, manifest = memory.read(request["size"]).partition(b"\n")
    ending, text = decide(asked, manifest)
    return {"ending": ending, "size": memory.write([text.encode()])}


if __name__ == "__main__":
    serve(answer)
