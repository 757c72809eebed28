"""The diagram of the states agrees with the enum."""

import re
from pathlib import Path

from s3_sam3.contracts import tasks


PAGE = Path(__file__).parents[2] / "docs/job-states.md"
ARROW = re.compile(r"^\s+(\w+|\[\*\]) --> (\w+|\[\*\])", re.MULTILINE)


def arrows() -> set[tuple[str, str]]:
    """From and to of each arrow."""
    return set(ARROW.findall(PAGE.read_text()))


def test_the_drawing_has_exactly_the_statuses() -> None:
    """Every status is drawn, and nothing else is."""
    drawn = {state for arrow in arrows() for state in arrow} - {"[*]"}

    assert drawn == set(tasks.TaskStatus)


def test_the_final_statuses_lead_nowhere() -> None:
    """A final status has one arrow, to the end; the others have more than that one."""
    ends = {start for start, end in arrows() if end == "[*]"}
    leaving = {start for start, end in arrows() if end != "[*]"}

    assert ends == tasks.FINAL_STATUSES
    assert not leaving & tasks.FINAL_STATUSES
