"""What runs on this machine, and on which addresses it listens."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from devstack import testing


def children(pid: int) -> list[int]:
    """Process ids of the children of *pid*."""
    lines = subprocess.check_output(["ps", "-eo", "pid=,ppid="], text=True).splitlines()
    pairs = [[int(word) for word in line.split()] for line in lines]
    return [child for child, parent in pairs if parent == pid]


def descendants(pid: int) -> list[int]:
    """Process ids of the children of *pid*, and of theirs."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


def peak(pid: int, what: str) -> int:
    """Most bytes that *pid* ever had: `VmHWM` in memory, `VmPeak` of address space."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return int(value.removesuffix("kB")) * 1024
    return 0


def gone(pids: list[int], seconds: float) -> bool:
    """Whether all *pids* are gone within *seconds*."""
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() >= deadline:
            return False
        time.sleep(testing.LOOK_SECONDS)
    return True


def alive(pid: int) -> bool:
    """Whether *pid* runs; a zombie nobody has reaped does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.strip().startswith(b"Z")


def listening(pids: list[int]) -> Iterator[str]:
    """Addresses on which the processes *pids* listen, in dotted form."""
    sockets = {link for pid in pids for link in socket_links(pid)}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                address = bytes.fromhex(words[1].split(":")[0])
                yield socket.inet_ntoa(address[::-1]) if table == "tcp" else address.hex()


def socket_links(pid: int) -> Iterator[str]:
    """What the descriptors of *pid* are."""
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            yield str(descriptor.readlink())
        except FileNotFoundError:
            continue
