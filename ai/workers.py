"""Runs the training in one process or two, and saves its state so that it can be resumed."""

import importlib
import logging
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from ai import training
from ai.tiny_config import SHARDS, Recipe
from ai.training import Gradients, Trainer
from pipeline.model import torchvision_fallback


#: Called in the first process after every step, with the steps done and the step's losses.
Report = Callable[[int, dict[str, float]], None]


class TrainingError(Exception):
    """Training the tiny model went wrong."""


class PartnerLost(TrainingError):
    """The other training process ended early; run the command again to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One end of a pipe to the other process; a byte each way keeps both in step."""

    pipe: Connection

    def meet(self) -> None:
        """Wait for the other process; raises `PartnerLost` when it is gone."""
        try:
            self.pipe.send_bytes(b".")
            self.pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise PartnerLost(PartnerLost.__doc__) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to train, where to keep the state, and how often to write it."""

    recipe: Recipe
    state: Path
    save_seconds: float = 20.0


def train(plan: Plan, processes: int, report: Report) -> Trainer:
    """
    Train to the end of the recipe, from a saved state if there is one.

    The result does not depend on *processes* (1 or 2), nor on interruptions.
    """
    prepare()
    if processes == 1:
        trainer = Trainer(plan.recipe, range(SHARDS))
        _run(plan, trainer, report)
        return trainer
    return _train_together(plan, report)


def prepare() -> None:
    """Make SAM3 usable without torchvision, and quiet."""
    torchvision_fallback.install()
    transformers_logging = importlib.import_module("transformers.utils.logging")
    transformers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)


def _train_together(plan: Plan, report: Report) -> Trainer:
    """Train the first shard here and the second one in a child process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    slots = torch.zeros(2, SHARDS, training.vector_length(plan.recipe))
    slots.share_memory_()  # type: ignore[no-untyped-call] # torch has no annotation here
    child = context.Process(target=_second, args=(plan, slots, there), daemon=True)
    child.start()
    there.close()  # only the child holds its end now, so its death closes the pipe
    try:
        trainer = Trainer(plan.recipe, [0])
        trainer.gradients = Gradients(slots=slots, peer=Link(pipe=here))
        _run(plan, trainer, report)
    finally:
        here.close()
        _end(child)
    return trainer


def _second(plan: Plan, slots: torch.Tensor, pipe: Connection) -> None:
    """Run the child process; it ends when the parent does."""
    prepare()
    trainer = Trainer(plan.recipe, [1])
    trainer.gradients = Gradients(slots=slots, peer=Link(pipe=pipe))
    if plan.state.exists():
        trainer.restore(torch.load(plan.state, weights_only=True))
    try:
        trainer.run(lambda _trainer, _losses: None)
    except PartnerLost:
        return


def _run(plan: Plan, trainer: Trainer, report: Report) -> None:
    """Continue from the saved state, and save it regularly."""
    saved_at = time.monotonic()
    if plan.state.exists():
        trainer.restore(torch.load(plan.state, weights_only=True))

    def on_step(trainer: Trainer, losses: dict[str, float]) -> None:
        nonlocal saved_at
        report(trainer.step, losses)
        if time.monotonic() - saved_at >= plan.save_seconds:
            training.save_state(trainer, plan.state)
            saved_at = time.monotonic()

    trainer.run(on_step)


def _end(child: BaseProcess) -> None:
    """Wait for the child, which ends by itself once the pipe is closed."""
    wait([child.sentinel], timeout=30)
    if child.is_alive():
        child.terminate()
        child.join()
