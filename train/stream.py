"""Augmented batches, rendered by one core while the other one trains on those before.

epoch -> shuffled shards of 5,000 pictures -> distorted, teachers' logits added (background thread) -> batches

Every shard has a random generator of its own, seeded by its place: the bits depend neither on timing nor on where a
resumed run began. A recipe with `fresh` renderings keeps them in a folder, for later epochs and for the other seeds.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from digit import MEAN, STD
from train.augment import augment
from train.mnist import Digits
from train.recipe import Recipe

SHARD = 5_000
AHEAD = 3  # shards rendered in advance
PICTURES = 0  # seed of the pictures; a recipe's own seed is that of the net and of the order it sees them in


def pixels_of(pictures: Tensor) -> Tensor:
    """Normalized pixels, float32 [n, 1, 28, 28] (channels last), of pictures, uint8 [n, 28, 28]."""
    return pictures[:, None].float().div_(255).sub_(MEAN).div_(STD).to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Shard:
    """Pictures uint8 [n, 28, 28], labels int64 [n], and the teachers' logits float32 [n, 10], if any."""

    pictures: Tensor
    labels: Tensor
    taught: Tensor | None = None

    def __getitem__(self, index: Tensor) -> "Shard":
        return Shard(self.pictures[index], self.labels[index], None if self.taught is None else self.taught[index])


class Stream:
    """The batches of a recipe's epochs; `close` ends the background thread."""

    def __init__(
        self,
        digits: Digits,
        recipe: Recipe,
        teach: Callable[[Tensor], Tensor] | None = None,
        kept: Path | None = None,
    ) -> None:
        self.digits, self.recipe, self.teach = digits, recipe, teach
        self.kept = kept if recipe.fresh else None
        if self.kept:
            self.kept.mkdir(parents=True, exist_ok=True)
        self.shards = -(-len(digits) // SHARD)
        self._renderer = ThreadPoolExecutor(1, "render")
        self._ahead: deque[Future[Shard]] = deque()

    def epoch(self, number: int) -> Iterator[Shard]:
        """Batches of the epoch, each a Shard of at most `batch_size` digits."""
        for index in range(self.shards):
            shard = self._next(number, index)
            yield from (shard[rows] for rows in torch.arange(len(shard.labels)).split(self.recipe.batch_size))

    def _next(self, epoch: int, index: int) -> Shard:
        """Order what comes after this shard, into the next epoch, then wait for it."""
        first = epoch * self.shards + index
        last = min(first + AHEAD, self.recipe.epochs * self.shards - 1)
        for position in range(first + len(self._ahead), last + 1):
            self._ahead.append(self._renderer.submit(self._shard, *divmod(position, self.shards)))
        return self._ahead.popleft().result()

    def close(self) -> None:
        self._renderer.shutdown(wait=True, cancel_futures=True)

    def _shard(self, epoch: int, index: int) -> Shard:
        """A shard of the epoch, its digits in an order of this epoch and seed."""
        fresh = self.recipe.fresh or self.recipe.epochs
        order = torch.randperm(self.shards, generator=_generator(self.recipe.seed, epoch))
        shard = self._rendered((epoch + self.recipe.seed) % fresh, int(order[index]))
        return shard[torch.randperm(len(shard.labels), generator=_generator(self.recipe.seed, epoch, index))]

    def _rendered(self, part: int, index: int) -> Shard:
        """A shard of one of the `fresh` renderings of all digits; kept on disk when it is wanted more than once."""
        if not self.kept:
            return self._render(part, index)
        path = self.kept / f"{part}-{index}.pt"
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}")
            torch.save(asdict(self._render(part, index)), partial)
            os.replace(partial, path)
        return Shard(**torch.load(path, weights_only=True))

    @torch.inference_mode()
    def _render(self, part: int, index: int) -> Shard:
        order = torch.randperm(len(self.digits), generator=_generator(PICTURES, part))
        chosen = self.digits[order[index * SHARD : (index + 1) * SHARD]]
        pictures = augment(chosen.pictures, self.recipe.distortion, _generator(PICTURES, part, index))
        return Shard(pictures, chosen.labels, self.teach(pictures) if self.teach else None)


def _generator(seed: int, epoch: int, index: int = -1) -> Generator:
    return torch.Generator().manual_seed((seed * 10_000 + epoch) * 1_000 + index + 1)
