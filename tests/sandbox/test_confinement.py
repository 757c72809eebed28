"""A process that hostile bytes took over finds no key and reaches no other process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import confinement


ROOT = Path(__file__).parents[2]

#: A parent of some user, and a child that gives up what is asked and then looks about.
LOOKING = """
import os, sys
from sandbox import confinement

uid, hides, given_up = int(sys.argv[1]), sys.argv[2] == "hides", sys.argv[3]

def reads(path):
    try:
        with open(path, "rb") as file:
            return bool(file.read())
    except OSError:
        return False

def signals(process):
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True

if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
    confinement._prctl(4, 1)  # as any process of this user is
if hides:
    confinement.hide()
parent = os.getpid()
if os.fork() == 0:
    for name in given_up.split():
        getattr(confinement, name)()
    seen = {"environment": reads(f"/proc/{parent}/environ"), "file": reads("/etc/passwd"),
            "signals": signals(parent)}
    print(*(what for what, there in seen.items() if there), flush=True)
    os._exit(0)
os.wait()
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes the places of two users")

landlock = pytest.mark.skipif(
    confinement._syscall(444, None, 0, 1) < 6, reason="this kernel's Landlock is too old, or off"
)


def seen(*, uid: int, given_up: str = "", hides: bool = False) -> set[str]:
    """What the child of a parent of user *uid* could do of what it should not."""
    command = [sys.executable, "-c", LOOKING, str(uid), "hides" if hides else ""]
    environ = {"API_SECRET_KEY": "a-secret", "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [*command, given_up], env=environ, capture_output=True, check=True, text=True
    )
    return set(said.stdout.split())


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_confined_child_sees_nothing_of_its_parent(uid: int) -> None:
    """
    Started by root or by a user: no environment, no signal.

    Negative control: with the guards taken out it reads the key.
    """
    assert seen(uid=uid) == {"environment", "file", "signals"}
    assert seen(uid=uid, hides=True, given_up="confine") <= {"file"}


def test_a_parent_hides_from_children_of_its_own_user() -> None:
    """Also where the kernel has no Landlock."""
    assert "environment" not in seen(uid=1000, hides=True)


def test_root_becomes_nobody() -> None:
    """Root reads what is hidden, and signals whom it likes; nobody does not."""
    assert seen(uid=0, given_up="become_nobody") == {"file"}


@landlock
@pytest.mark.parametrize("uid", [0, 1000])
def test_nobody_is_looked_into_and_no_file_opened(uid: int) -> None:
    """Landlock alone: so of what else the user runs, which hides from nobody, nothing is seen."""
    assert seen(uid=uid, given_up="deny") == set()
