"""
What a process can no longer do that reads bytes nobody has checked, and how its parent hides.

A decoder in a stranger's hands runs as the user who started it, and Linux lets a user's processes
read each other's environment and memory: the keys of its parent, and of whatever else that user
runs. Each guard here holds without the others, as far as the kernel has it:

- `hide`: the parent's environment and memory are nobody's but root's;
- `confine`, in the child: root becomes nobody; no file can be opened by its path, no process
  outside be looked into or signalled, no port be bound or dialled (Landlock, Linux 5.13 and later;
  ports 6.7, signals 6.12); no program gives back what was given up.

Elsewhere than on Linux both do nothing.
"""

import ctypes
import os
import struct
import sys
from typing import Final


#: Who owns nothing, by Linux's convention.
NOBODY: Final = 65_534

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

#: System calls, by the same numbers on every kind of processor.
_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446

#: All that Landlock can deny, by the version that began to: of files; of ports; of abstract
#: sockets and signals.
_RIGHTS: Final = {1: 0x1FFF, 4: 0b11, 6: 0b11}


def hide() -> None:
    """Keep other processes of this user out of this one: its environment, memory, descriptors."""
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


def confine() -> None:
    """
    Give up what this process needs no more.

    Call it after the last import, before the first byte: what is open stays open, and nothing else
    can be opened, not even a module. A signal to be sent at the parent's death is asked for later.

    Raises:
        PermissionError: this is root, may not become another, and could still read its parent.

    """
    if sys.platform != "linux":
        return
    become_nobody()
    deny()
    hide()
    if os.geteuid() == 0 and _reads(os.getppid()):
        message = "this process is root and can neither become nobody nor be kept from its parent"
        raise PermissionError(message)


def become_nobody() -> None:
    """Be nobody instead of root; a container's root may be forbidden to."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return


def deny() -> None:
    """Gain nothing, open nothing, look into nobody; the latter two where there is Landlock."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)  # else only root may deny itself what follows
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
    """Set one of this process's own properties."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _syscall(number: int, *arguments: bytes | int | None) -> int:
    """Call the kernel; -1 when it refuses."""
    given = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(number), *given))
