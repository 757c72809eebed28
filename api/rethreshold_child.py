"""
The child process that cuts a result anew: `python -m api.rethreshold_child`.

Its standard input is one line (a Cut as JSON) and then a manifest; its answer is one word and then
a Rethresholded as JSON, or what is wrong. The manifest comes from a GPU host that may be
rented, and its masks go through native code that holds the interpreter's lock: so this runs in a
process with a bound on memory and CPU time, no secret in its environment, no way to anybody else's
(`sandbox.confinement`), and nothing else to do.
"""

import resource
import sys
from typing import BinaryIO, Final
from uuid import UUID

from pydantic import BaseModel, ValidationError

from s3_sam3.contracts.bodies import Rethresholded, RethresholdRequest
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.imaging.rethreshold import RethresholdError, rethreshold
from sandbox.confinement import confine


DONE: Final = b"done"
REFUSED: Final = b"refused"
UNREADABLE: Final = b"unreadable"

_MEMORY_BYTES: Final = 2 * 1024**3
_CPU_SECONDS: Final = 20


class Cut(BaseModel):
    """What is to be done; the manifest follows."""

    task_id: UUID
    request: RethresholdRequest


def answer(asked: bytes, manifest: bytes) -> bytes:
    """Cut *manifest* as *asked*: the word, a line's end, and what belongs to it."""
    cut = Cut.model_validate_json(asked)
    try:
        stored = Manifest.model_validate_json(manifest)
    except ValidationError as error:
        # Without the values: the text of a prompt is nothing for a log.
        fault = error.errors(include_input=False, include_context=False)[0]
        return _line(UNREADABLE, f"{fault['loc']}: {fault['type']}")
    try:
        anew = rethreshold(stored, cut.request)
    except RethresholdError as error:
        return _line(REFUSED, str(error))
    return _line(DONE, Rethresholded(task_id=cut.task_id, manifest=anew).model_dump_json())


def _line(word: bytes, rest: str) -> bytes:
    return word + b"\n" + rest.encode()


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Bound this process, wait for the one piece of work, do it, print the answer."""
    confine()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = source.readline()
    if asked:  # else the API has stopped
        sink.write(answer(asked, source.read()))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
