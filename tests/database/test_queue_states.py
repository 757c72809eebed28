"""The queue against its model: whatever is done to it in whatever order, both agree."""

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings

from bench.queue_states.machine import QueueMachine, run_machine
from bench.queue_states.mutants import MUTANTS, mutated
from devstack.testing import Stack


#: The same ways on each run and each machine; `python -m bench.queue_states` goes new ones, tries
#: every mutant, and makes the way to a mismatch short, which takes minutes.
BOUNDED = settings(
    max_examples=60,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def test_the_queue_is_what_the_model_says(stack: Stack) -> None:
    """Answers, rows, money, caps, order and turns agree after every step."""
    run_machine(lambda: QueueMachine(stack.db_url), BOUNDED)


@pytest.mark.parametrize(
    "guard",
    ["complete_task asks whether the token is live", "a hold comes back", "each pass is paid"],
)
def test_a_missing_guard_is_noticed(stack: Stack, guard: str) -> None:
    """
    Negative control: with the fence or the giving back taken out, they no longer agree.

    The schema may notice before the model does: a second settlement is refused by an index.
    """
    with (
        mutated(stack.db_url, MUTANTS[guard]),
        pytest.raises((AssertionError, psycopg.IntegrityError)),
    ):
        run_machine(lambda: QueueMachine(stack.db_url), BOUNDED)


@pytest.mark.parametrize("guard", MUTANTS)
def test_each_guard_stands_in_the_sql(stack: Stack, guard: str) -> None:
    """A mutant whose guard was reworded would take nothing out, and hunt nothing."""
    with mutated(stack.db_url, MUTANTS[guard]):
        pass
