"""A child for the tests of the pool: it gives back what it is handed, in capitals."""

import os
import signal
from typing import Any

from sandbox.child import SealedMemory, serve


def answer(request: dict[str, int], memory: SealedMemory) -> dict[str, Any]:
    """Answer, unless the request says that it should crash, take memory or spin."""
    if request.get("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if request.get("spin"):
        while True:
            pass
    if count := request.get("take"):
        try:
            bytes(count)
        except MemoryError:
            return {"memory": True}
    text = memory.read(request["size"]).upper()
    return {"size": memory.write([text]), "pid": os.getpid()}


if __name__ == "__main__":
    serve(answer)
