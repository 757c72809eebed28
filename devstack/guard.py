"""
Run one program so that it never outlives the process that asked for it.

    python -I -S guard.py SIGNAL:SECONDS[,SIGNAL:SECONDS…] RUN_AS PROGRAM [ARGUMENT…]

Standard input is the lifeline: its other end is held by the parent and by nobody else, so it
ends when the parent closes it and also when the parent is killed. Then the program's process
group gets each signal in turn, with its grace, and at last SIGKILL. The same code
serves a normal stop and a killed parent, so every run tests it.

A byte on the lifeline is the number of a signal to pass on. It comes back on standard output once
the signal is sent; SIGSTOP once the program stands still, which on a busy machine is later. The
program writes to standard error only.

RUN_AS is `-`, `namespace`, or `UID:GID`: PostgreSQL refuses to run as root. The guard itself
keeps the parent's user, so it may signal the program under whatever user that runs.

Only the standard library, and little of it: this file starts in about 15 ms.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time


CLONE_NEWUSER = 0x10000000

#: The user PostgreSQL believes to be inside its namespace; any but 0.
NAMESPACE_ID = 1000

LIFELINE, ANSWERS, SAID = 0, 1, 2

#: File descriptors above the standard three that the program must not inherit.
DESCRIPTORS = (3, 256)


def main(arguments: list[str]) -> int:
    """Run the program of *arguments*; its exit status, or 128 plus the signal that ended it."""
    steps = [
        (int(number), float(seconds))
        for number, _, seconds in (step.partition(":") for step in arguments[0].split(","))
    ]
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pid = os.fork()
    if pid == 0:
        become(arguments[1], arguments[2:])
    return attend(pid, steps, woken)


def become(run_as: str, command: list[str]) -> None:
    """Replace this forked process by *command*. Does not return."""
    try:
        os.setsid()
        become_user(run_as)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), LIFELINE)
        os.dup2(SAID, ANSWERS)
        os.closerange(*DESCRIPTORS)
        os.execv(command[0], command)  # noqa: S606  a shell is what we do not want here
    except OSError as error:
        os.write(SAID, f"devstack guard: {command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def become_user(run_as: str) -> None:
    """Stop being root as *run_as* says. Raises: OSError."""
    if run_as == "namespace":
        libc = ctypes.CDLL(None, use_errno=True)
        user, group = os.geteuid(), os.getegid()
        if libc.unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER) is not allowed here")
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{NAMESPACE_ID} {user} 1")
        write("/proc/self/gid_map", f"{NAMESPACE_ID} {group} 1")
    elif run_as != "-":
        user_id, _, group_id = run_as.partition(":")
        os.setgroups([])
        os.setgid(int(group_id))
        os.setuid(int(user_id))


def write(path: str, text: str) -> None:
    """Write *text* to the kernel's file *path* in one call, as it asks for."""
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def attend(pid: int, steps: list[tuple[int, float]], woken: int) -> int:
    """Wait for the program *pid*, and end it by *steps* once the lifeline is cut."""
    watched = [LIFELINE, woken]
    deadline: float | None = None
    pending = [*steps, (int(signal.SIGKILL), 60.0)]
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if deadline is not None:
                end_what_it_started(pid)
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if deadline is not None and time.monotonic() >= deadline:
            deadline = time.monotonic() + signal_next(pid, pending)
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select(watched, [], [], wait)
        if woken in ready:
            os.read(woken, 512)
        if LIFELINE in ready:
            orders = os.read(LIFELINE, 512)
            pass_on(pid, orders)
            if not orders:
                watched, deadline = [woken], 0.0


def pass_on(pid: int, orders: bytes) -> None:
    """Send the group of *pid* the signals that *orders* number, and answer each when it is done."""
    for number in orders:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        if number == signal.SIGSTOP:
            # Stopped or ended, it is left for waitpid() to find.
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(BrokenPipeError):
            os.write(ANSWERS, bytes([number]))


def end_what_it_started(pid: int) -> None:
    """Kill who is left of the group of *pid*, as a child of initdb; wait a second at most."""
    for _ in range(200):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.005)


def signal_next(pid: int, pending: list[tuple[int, float]]) -> float:
    """Send the next of the *pending* signals to the group of *pid*; seconds to wait for it."""
    number, seconds = pending.pop(0) if len(pending) > 1 else pending[0]
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        # The program is being reaped, or has not reached its setsid() yet.
        return 0.01
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
