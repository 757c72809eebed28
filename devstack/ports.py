"""Which ports the stack listens on, all on 127.0.0.1; chosen once, kept in the state directory."""

import dataclasses
import secrets
import socket

from devstack import errors


#: Below the range from which systems take ports for outgoing connections (Linux: 32768 and up),
#: so that nobody's outgoing connection sits on one of ours at the next start.
LOWEST, HIGHEST = 15_000, 31_999

HOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One port each. SeaweedFS is five servers, each with a gRPC twin."""

    gateway: int
    postgres: int
    object_store: int
    object_store_grpc: int
    filer: int
    filer_grpc: int
    volume: int
    volume_grpc: int
    master: int
    master_grpc: int
    admin: int
    admin_grpc: int

    def require_free(self) -> None:
        """Raises: PortTakenError, for the first port that is in use."""
        for name, port in dataclasses.asdict(self).items():
            if not is_free(port):
                raise errors.PortTakenError(
                    f"Port {port} ({name}) is in use by another program. Stop that, or choose"
                    " another gateway port with --port, or forget this state with"
                    " `python -m devstack reset`."
                )


def choose(gateway: int) -> Ports:
    """Free ports; *gateway* is kept unless it is 0."""
    taken = {gateway}
    chosen = {}
    for field in dataclasses.fields(Ports):
        if field.name == "gateway" and gateway:
            chosen[field.name] = gateway
            continue
        port = _free_port(taken)
        taken.add(port)
        chosen[field.name] = port
    return Ports(**chosen)


def free() -> int:
    """A port for a server that may have another one at its next start."""
    return _free_port(set())


def is_free(port: int) -> bool:
    """Whether we could listen on *port* now."""
    with socket.socket() as probe:
        # As servers do: a connection in TIME_WAIT does not make a port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(taken: set[int]) -> int:
    while True:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST + 1)
        if port not in taken and is_free(port):
            return port
