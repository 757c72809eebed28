"""
What a process gives up before it reads unchecked bytes, and how its parent hides from it.

A decoder that hostile bytes took over runs as the user who started it, and Linux lets the processes
of one user read each other's environment and memory: the keys of its parent, and of whatever else
that user runs. Each guard holds without the other, as far as the kernel has it:

- `hide`, in the parent: only root may read its environment and memory.
- `confine`, in the child: root becomes nobody; no file can be opened by its path, no other process
  be looked into or signalled, no port be bound or dialled (Landlock, Linux 5.13 and later; ports
  6.7, signals 6.12); no program gives back what was given up.
"""

import ctypes
import os
import struct
from typing import Final


#: The user who owns nothing, by Linux's convention.
NOBODY: Final = 65_534

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

#: System calls, by the same numbers on every kind of processor.
_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446

#: Landlock's version → all rights that it can deny since: of files; of ports; of abstract sockets
#: and signals.
_RIGHTS: Final = {1: 0x1FFF, 4: 0b11, 6: 0b11}


def hide() -> None:
    """Keep other processes of this user out of this one: its environment, memory, descriptors."""
    _prctl(_PR_SET_DUMPABLE, 0)


def confine() -> None:
    """
    Give up what this process no longer needs.

    Call it after the last import and before the first byte: what is open stays open, and nothing
    else can be opened, not even a module. Ask for a signal at the parent's death afterwards.

    Raises:
        PermissionError: this is root, may not become another, and could still read its parent.

    """
    become_nobody()
    deny()
    hide()
    if os.geteuid() == 0 and _reads(os.getppid()):
        message = "this process is root and can neither become nobody nor be kept from its parent"
        raise PermissionError(message)


def become_nobody() -> None:
    """Become nobody instead of root, unless a container forbids it."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return


def deny() -> None:
    """Gain no privileges and, where there is Landlock, open no file and look into no process."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)  # without it only root may restrict itself
    version = _syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return
    rights = [bits for since, bits in _RIGHTS.items() if version >= since]
    wanted = struct.pack(f"{len(rights)}Q", *rights)
    rules = _syscall(_CREATE_RULESET, wanted, len(wanted), 0)
    if rules >= 0:
        _syscall(_RESTRICT_SELF, rules, 0)
        os.close(rules)


def _reads(process: int) -> bool:
    """Whether this process can read another's environment."""
    try:
        os.close(os.open(f"/proc/{process}/environ", os.O_RDONLY))
    except OSError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _syscall(number: int, *arguments: bytes | int | None) -> int:
    """Call the kernel; -1 when it refuses."""
    given = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(number), *given))
