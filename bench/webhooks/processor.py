"""Processor time of processes that run, from /proc (Linux)."""

import os
from pathlib import Path


def seconds(pid: int) -> float:
    """User and system time of one process, in steps of 10 ms."""
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def seconds_below(pid: int) -> float:
    """The same of everything that *pid* has started and that still runs, without itself."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int(_stat(int(path.name))[1])
        except OSError:
            continue
    return sum(_seconds_or_gone(each) for each in parents if _is_below(each, pid, parents))


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while (pid := parents.get(pid, 0)) != 0:
        if pid == ancestor:
            return True
    return False


def _seconds_or_gone(pid: int) -> float:
    try:
        return seconds(pid)
    except OSError:
        return 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; the second may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
