"""The guard: one program, ended with its parent."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from devstack import processes


def guarded(script: str, *, run_as: str = "-", steps: str = "15:5.0") -> subprocess.Popen[str]:
    """Run the shell *script* behind a guard whose lifeline we hold."""
    command = [sys.executable, "-I", "-S", str(processes.GUARD), steps, run_as]
    return subprocess.Popen(
        [*command, "/bin/sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def cut(guard: subprocess.Popen[str]) -> int:
    """Cut the lifeline; the guard's exit status."""
    assert guard.stdin is not None
    guard.stdin.close()
    return guard.wait(10)


def said(guard: subprocess.Popen[str]) -> str:
    """The next line of the program."""
    assert guard.stderr is not None
    return guard.stderr.readline().strip()


def answered(guard: subprocess.Popen[str], number: int) -> bool:
    """Send the signal *number* through the guard; whether the guard answered."""
    assert guard.stdin is not None
    assert guard.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        guard.stdin.write(chr(number))
        guard.stdin.flush()
    return guard.stdout.read(1) == chr(number)


def state(pid: int) -> str:
    """The letter by which ps shows what *pid* does."""
    asked = ["ps", "-o", "stat=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()[:1]


def test_the_exit_status_is_the_programs() -> None:
    """A program's own end is reported as it is."""
    with guarded("exit 7") as guard:
        assert guard.wait(10) == 7


def test_the_program_ends_with_the_lifeline() -> None:
    """A program may handle the first signal and end by itself."""
    with guarded("trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done") as guard:
        assert said(guard) == "ready"

        assert cut(guard) == 9


def test_a_stubborn_program_is_killed_after_its_grace() -> None:
    """A program that ignores the signal is killed, and so is what it started."""
    script = "trap '' TERM; sleep 60 & echo $!; wait; while :; do sleep 1; done"
    with guarded(script, steps="15:0.1") as guard:
        grandchild = int(said(guard))

        assert cut(guard) == 128 + signal.SIGKILL
        assert ended(grandchild)


def test_the_guard_outlives_signals_of_the_terminal() -> None:
    """Ctrl-C reaches the parent, which decides; the guard itself does not die of it."""
    with guarded("echo ready; sleep 60") as guard:
        said(guard)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            guard.send_signal(number)

        with pytest.raises(subprocess.TimeoutExpired):
            guard.wait(0.2)
        assert cut(guard) == 128 + signal.SIGTERM


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("run_as", ["65534:65534", "namespace"])
def test_a_program_run_as_another_is_not_root_and_still_ends(run_as: str) -> None:
    """Under another user, or in a namespace, the program ends all the same."""
    with guarded("id -u; sleep 60", run_as=run_as) as guard:
        user = said(guard)
        if "not allowed" in user:
            cut(guard)
            pytest.skip("user namespaces are not allowed here")

        assert user != "0"
        assert cut(guard) == 128 + signal.SIGTERM


def test_a_program_stands_still_once_its_pause_is_answered() -> None:
    """The answer to SIGSTOP comes when the program is stopped, every time and also when it was."""
    with guarded("echo $$; while :; do :; done") as guard:
        pid = int(said(guard))

        for number in (*(signal.SIGSTOP, signal.SIGCONT) * 50, signal.SIGSTOP, signal.SIGSTOP):
            assert answered(guard, number)
            assert (state(pid) == "T") == (number == signal.SIGSTOP)

        cut(guard)


def test_a_signal_to_a_program_that_ends_is_answered() -> None:
    """Nobody waits for the answer of a program that is gone: it comes, or the guard's end does."""
    with guarded("echo ready; sleep 60") as guard:
        said(guard)

        assert answered(guard, signal.SIGKILL)
        answered(guard, signal.SIGSTOP)

        assert guard.wait(10) == 128 + signal.SIGKILL


def test_a_missing_program_is_named() -> None:
    """What cannot be started is said, with the status that shells use."""
    command = [sys.executable, "-I", "-S", str(processes.GUARD), "15:1", "-", "/no/such/program"]

    failed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)

    assert failed.returncode == 127
    assert "/no/such/program" in failed.stderr


def ended(pid: int) -> bool:
    """Whether *pid* is gone, or gone but for somebody who reaps it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if state(pid) in {"", "Z"}:
            return True
    return False
