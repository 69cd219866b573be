"""Augmented batches -> steps of AdamW -> averaged weights, measured on validation after every epoch.

After every epoch the whole state is kept, so that a resumed run goes on where it was stopped, to the same bits.
"""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from train.measure import accuracy, cross_entropy, logits_of
from train.mnist import Digits
from train.recipe import Recipe
from train.stream import Shard, Stream, pixels_of


@dataclass
class Fitted:
    """The net with its best weights, what each epoch measured, and whether Ctrl-C ended the run."""

    net: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def best(self) -> dict[str, float]:
        return min(self.history, key=lambda epoch: epoch["validation_loss"])


def fit(
    make: Callable[[], nn.Module],
    recipe: Recipe,
    train: Digits,
    validation: Digits,
    checkpoint: Path | None = None,
    resume: bool = False,
    teach: Callable[[Tensor], Tensor] | None = None,
    kept: Path | None = None,
) -> Fitted:
    """Train the net that `make` makes; Ctrl-C ends early with the best weights so far.

    `teach` gives a teacher's logits, float32 [n, 10], of pictures, uint8 [n, 28, 28]; `kept` is the folder of rendered
    pictures, for this distortion, teacher and training set only. The result is that of the epoch
    with the lowest validation loss of the averaged weights. One thread trains and one renders, whatever the machine:
    sums in the same order give the same bits.
    """
    torch.set_num_threads(1)
    state = State(make, recipe, steps=recipe.epochs * -(-len(train) // recipe.batch_size))
    if resume and checkpoint and checkpoint.exists():
        state.load(checkpoint)
    stream = Stream(train, recipe, teach, kept)
    bar = tqdm(total=state.steps, initial=state.step, unit="batch", dynamic_ncols=True, smoothing=0.02)
    interrupted = False
    try:
        for epoch in range(len(state.history), recipe.epochs):
            start = perf_counter()
            losses = [state.learn(batch, bar) for batch in stream.epoch(epoch)]
            state.measure(validation, sum(losses) / len(losses), perf_counter() - start)
            bar.set_description(f"epoch {epoch + 1}: {state.history[-1]['validation_accuracy']:.2%}")
            if checkpoint:
                state.save(checkpoint)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stream.close()
        bar.close()
    state.averaged.load_state_dict(state.best)
    return Fitted(state.averaged.eval(), state.history, interrupted)


class State:
    """All that a run must remember: the net, its averaged twin, the optimizer, what was measured, the best weights."""

    def __init__(self, make: Callable[[], nn.Module], recipe: Recipe, steps: int) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.steps, self.step = recipe, steps, 0
        self.net = make()
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in its stubs
        self.averaged = copy.deepcopy(self.net)
        self.best = copy.deepcopy(self.net.state_dict())
        self.optimizer = torch.optim.AdamW(self.net.parameters(), weight_decay=recipe.weight_decay, fused=True)
        self.history: list[dict[str, float]] = []

    def learn(self, batch: Shard, bar: tqdm) -> float:
        """One step on one batch; its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step / self.steps)
        self.net.train()
        loss = loss_of(self.net(pixels_of(batch.pictures)), batch, self.recipe)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self.average()
        bar.update()
        if self.step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        return loss.item()

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged weights towards the net's: an exponential average, a plain one over the first steps."""
        share = max(1 / (self.recipe.averaging * self.steps + 1), 1 / self.step)
        averaged, current = self.averaged.state_dict(), self.net.state_dict()
        torch._foreach_lerp_([averaged[k] for k in averaged if averaged[k].is_floating_point()],
                             [current[k] for k in current if current[k].is_floating_point()], share)  # fmt: skip

    def measure(self, validation: Digits, train_loss: float, seconds: float) -> None:
        logits = logits_of(self.averaged, validation.pictures)
        lowest = min((epoch["validation_loss"] for epoch in self.history), default=float("inf"))
        self.history.append(
            {
                "epoch": len(self.history) + 1,
                "train_loss": train_loss,
                "validation_loss": cross_entropy(logits, validation.labels),
                "validation_accuracy": accuracy(logits, validation.labels),
                "seconds": round(seconds, 2),
            }
        )
        if self.history[-1]["validation_loss"] < lowest:
            self.best = copy.deepcopy(self.averaged.state_dict())

    def save(self, path: Path) -> None:
        """Write the state so that a run ended at any moment leaves a whole file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save({"recipe": self.recipe.as_dict()} | {name: _state_of(self, name) for name in KEPT}, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on where `save` was called. Raises ValueError when that was a run of another recipe."""
        kept = torch.load(path, weights_only=True)
        if kept["recipe"] != self.recipe.as_dict():
            raise ValueError(f"{path} was left by a run of another recipe: run without --resume, or delete it")
        for name in ("net", "averaged", "optimizer"):
            getattr(self, name).load_state_dict(kept[name])
        self.best, self.history, self.step = kept["best"], kept["history"], kept["step"]


KEPT = ("net", "averaged", "optimizer", "best", "history", "step")


def _state_of(state: State, name: str) -> object:
    value = getattr(state, name)
    return value.state_dict() if hasattr(value, "state_dict") else value


def loss_of(logits: Tensor, batch: Shard, recipe: Recipe) -> Tensor:
    """Cross-entropy with the labels, blended with the softened teachers' where the batch was taught."""
    loss = F.cross_entropy(logits, batch.labels)
    if batch.taught is None:
        return loss
    soft, wanted = ((x / recipe.softness).log_softmax(1) for x in (logits, batch.taught))
    # softness^2 keeps the size of the gradient (Hinton et al. 2015)
    taught = F.kl_div(soft, wanted, log_target=True, reduction="batchmean") * recipe.softness**2
    return loss.lerp(taught, recipe.trust)
