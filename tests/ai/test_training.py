"""The same recipe gives the same weights, however it was run."""

import dataclasses
from pathlib import Path

import pytest
import torch

from ai import workers
from ai.tiny_config import Recipe
from ai.workers import Plan


class Stopped(Exception):
    """The training was interrupted."""


def weights(plan: Plan, processes: int = 1) -> torch.Tensor:
    """Train and return all parameters as one vector."""
    return workers.train(plan, processes, lambda _step, _losses: None).flat.values.clone()


@pytest.fixture(scope="module")
def whole(short: Recipe, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """Weights of one uninterrupted run in one process."""
    return weights(Plan(recipe=short, state=tmp_path_factory.mktemp("whole") / "state"))


def test_a_recipe_always_gives_the_same_weights(
    short: Recipe, whole: torch.Tensor, tmp_path: Path
) -> None:
    """A second run ends bit for bit where the first one did."""
    assert torch.equal(weights(Plan(recipe=short, state=tmp_path / "state")), whole)


def test_two_processes_train_what_one_trains(
    short: Recipe, whole: torch.Tensor, tmp_path: Path
) -> None:
    """Using both cores changes the time, not the weights."""
    both = weights(Plan(recipe=short, state=tmp_path / "state"), processes=2)

    assert torch.equal(both, whole)


def test_another_seed_gives_other_weights(
    short: Recipe, whole: torch.Tensor, tmp_path: Path
) -> None:
    """Negative control: the comparison can tell weights apart."""
    other = dataclasses.replace(short, seed=1)

    assert not torch.equal(weights(Plan(recipe=other, state=tmp_path / "state")), whole)


def test_a_stopped_training_goes_on_to_the_same_weights(
    short: Recipe, whole: torch.Tensor, tmp_path: Path
) -> None:
    """Killed after two steps and started again, it ends where an unbroken run ends."""
    plan = Plan(recipe=short, state=tmp_path / "state", save_seconds=0)

    def stop_in_the_middle(step: int, _losses: dict[str, float]) -> None:
        if step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        workers.train(plan, 1, stop_in_the_middle)

    assert torch.equal(weights(plan), whole)
