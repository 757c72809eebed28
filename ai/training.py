"""
The training loop: two half-batches per step, in one process or two, with the same result.

Each half-batch (shard) gives a gradient; every process takes the mean of both and makes the same
step, so the weights never have to be sent around. All parameters are views into one vector, which
makes the exchange, the optimiser and the moving average one operation each.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ai import initialise, losses, tiny_config, vocabulary
from ai.batches import Batch, Batches
from ai.losses import Hints, predict, see
from ai.tiny_config import SHARDS, Recipe


if TYPE_CHECKING:
    from transformers import Sam3Model


class Peer(Protocol):
    """The other process; each waits for the other after writing its gradients."""

    def meet(self) -> None:
        """Return when the other process has reached the same point."""


class Flat:
    """Parameters and gradients of some modules as one vector each."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        """Move the modules' parameters into one vector; they become views of it."""
        parameters = [p for module in modules for p in module.parameters()]
        self.values = torch.cat([p.detach().flatten() for p in parameters])
        self.gradient = torch.zeros_like(self.values)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = self.values[start:end].view_as(parameter)
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end


@dataclass(slots=True, kw_only=True)
class Gradients:
    """A slot for each shard's gradient, twice: one is read while the next is written."""

    slots: Tensor  # (2, SHARDS, parameters), shared between the processes
    peer: Peer | None = None

    def mean(self, step: int) -> Tensor:
        """Wait until all shards of the step are written, and average them."""
        if self.peer:
            self.peer.meet()
        return self.slots[step % 2].mean(0)


class Trainer:
    """One process's part of the training: its shards, and the whole of the weights."""

    def __init__(self, recipe: Recipe, shards: Iterable[int]) -> None:
        """Build the untrained model and draw the scenes of these shards."""
        torch.set_num_threads(1)  # tensors this small only lose by more
        self.recipe = recipe
        self.tokens = vocabulary.tokenizer()
        self.model: Sam3Model = initialise.new_model(recipe, self.tokens)
        names = len(vocabulary.COLOURS) + len(vocabulary.SHAPES)
        self.hints = Hints(recipe.width, names)
        self.flat = Flat([self.model, self.hints])
        self.average = self.flat.values.clone()
        self.step = 0
        self._optimiser = torch.optim.AdamW(
            [self._vector()], lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.decay
        )
        self._batches = {shard: Batches(recipe, shard, self.tokens) for shard in shards}
        self.gradients = Gradients(slots=torch.zeros(2, SHARDS, len(self.flat.values)))

    def _vector(self) -> nn.Parameter:
        vector = nn.Parameter(self.flat.values)
        vector.data = self.flat.values
        vector.grad = self.flat.gradient
        return vector

    def run(self, on_step: Callable[["Trainer", dict[str, float]], None]) -> None:
        """Train to the last step of the recipe, calling *on_step* after each."""
        while self.step < self.recipe.steps:
            on_step(self, self._advance())

    def _advance(self) -> dict[str, float]:
        """Make one step and return the losses of this process's last shard."""
        said: dict[str, float] = {}
        for shard, batches in self._batches.items():
            said = self._learn(batches, self.gradients.slots[self.step % 2, shard])
        self.flat.gradient.copy_(self.gradients.mean(self.step))
        norm = self.flat.gradient.norm()
        self.flat.gradient.mul_((1.0 / (norm + 1e-6)).clamp(max=1.0))
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.recipe, self.step)
        self._optimiser.step()
        self.step += 1
        # Early weights count for less: the average starts short and grows to its full length.
        keep = min(self.recipe.average, self.step / (self.step + 10))
        self.average.lerp_(self.flat.values, 1 - keep)
        return said

    def _learn(self, batches: Batches, slot: Tensor) -> dict[str, float]:
        """Write the gradient of one half-batch into its slot."""
        self.flat.gradient.zero_()
        if self.step < self.recipe.lessons:
            pictures = batches.lesson(self.step)
            parts = {"seen": losses.seen(pictures, see(self.model, self.hints, pictures.pixels))}
        else:
            batch = batches.batch(self.step)
            pairs = pairs_with_masks(batch, self.recipe.mask_pairs)
            said = predict(self.model, self.hints, batch, pairs)
            parts = losses.total(self.recipe, batch, said)
        torch.autograd.backward(torch.stack(list(parts.values())).sum())
        slot.copy_(self.flat.gradient)
        return {name: part.item() for name, part in parts.items()}

    def averaged_model(self) -> "Sam3Model":
        """Put the averaged weights into the model, for saving; training cannot go on after it."""
        self.flat.values.copy_(self.average)
        return self.model.eval()

    def state(self) -> dict[str, Any]:
        """All that a later process needs to continue."""
        return {
            "step": self.step,
            "values": self.flat.values,
            "average": self.average,
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.flat.values.copy_(state["values"])
        self.average.copy_(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])


def save_state(trainer: Trainer, path: Path) -> None:
    """Write the state so that a crash leaves either the old file or the new one."""
    fresh = path.with_suffix(".new")
    torch.save(trainer.state(), fresh)
    fresh.replace(path)


def rate_at(recipe: tiny_config.Recipe, step: int) -> float:
    """The learning rate: it rises twice, for vision and for the detector, and falls to zero."""
    begun = step - (recipe.lessons if step >= recipe.lessons else 0)
    rise = min(1.0, (begun + 1) / recipe.warmup)
    part = step / recipe.steps
    return recipe.rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))


def pairs_with_masks(batch: Batch, most: int) -> Tensor:
    """Choose the pairs whose masks are trained, mostly ones with something to find."""
    present = batch.wanted.any(1)
    seen, absent = (~present).logical_not().nonzero()[:, 0], (~present).nonzero()[:, 0]
    absent = absent[: most // 5]
    return torch.cat([seen[: most - len(absent)], absent])


def vector_length(recipe: Recipe) -> int:
    """Count the trained parameters: the model's and the hint heads'."""
    names = len(vocabulary.COLOURS) + len(vocabulary.SHAPES)
    model = initialise.new_model(recipe, vocabulary.tokenizer())
    modules = (model, Hints(recipe.width, names))
    return sum(p.numel() for module in modules for p in module.parameters())
