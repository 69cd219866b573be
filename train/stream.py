"""Augmented batches, rendered by one core while the other one trains on those before.

epoch -> shuffled shards of 5,000 pictures -> distorted, teachers' logits added (background thread) -> batches

Every shard has a random generator of its own, seeded by (seed, epoch, shard): the bits depend neither on timing nor on
where a resumed run began.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from digit import MEAN, STD
from train.augment import augment
from train.mnist import Digits
from train.recipe import Recipe

SHARD = 5_000
AHEAD = 3  # shards rendered in advance


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

    def __init__(self, digits: Digits, recipe: Recipe, teach: Callable[[Tensor], Tensor] | None = None) -> None:
        self.digits, self.recipe, self.teach = digits, recipe, teach
        self.shards = -(-len(digits) // SHARD)
        self._kept: dict[tuple[int, int], Shard] = {}
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
        """A shard of the epoch: rendered, or one that was rendered `fresh` epochs ago in a new order."""
        fresh = self.recipe.fresh or self.recipe.epochs
        if epoch < fresh:
            return self._keep((epoch, index), self._render(epoch, index))
        order = torch.randperm(self.shards, generator=self._generator(epoch, -1))
        key = (epoch % fresh, int(order[index]))
        shard = self._kept.get(key) or self._keep(key, self._render(*key))  # a resumed run renders it again
        return shard[torch.randperm(len(shard.labels), generator=self._generator(epoch, index))]

    def _keep(self, key: tuple[int, int], shard: Shard) -> Shard:
        if self.recipe.fresh:
            self._kept[key] = shard
        return shard

    @torch.inference_mode()
    def _render(self, epoch: int, index: int) -> Shard:
        order = torch.randperm(len(self.digits), generator=self._generator(epoch, -1))
        chosen = self.digits[order[index * SHARD : (index + 1) * SHARD]]
        pictures = augment(chosen.pictures, self.recipe.distortion, self._generator(epoch, index))
        return Shard(pictures, chosen.labels, self.teach(pictures) if self.teach else None)

    def _generator(self, epoch: int, index: int) -> Generator:
        return torch.Generator().manual_seed((self.recipe.seed * 10_000 + epoch) * 1_000 + index + 1)
