"""The training loop: nets of one architecture, one for each seed, stacked and trained at once.

renderings -> each epoch and seed takes one, shuffled -> steps of AdamW -> exponential moving average of the weights

A CPU trains one net at a time, on one thread, so the same seed gives the same bits. On CUDA a step is captured once as
a graph and replayed, since launching its kernels takes longer than running them.
"""

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from train.measure import accuracy, cross_entropy, logits_of, pixels_of
from train.mnist import Digits
from train.recipe import Recipe


@dataclass(frozen=True)
class Renderings:
    """Augmented copies of a data set, on the device that trains.

    pictures: uint8 [r, n, 28, 28].
    labels: int64 [n].
    taught: the teachers' logits, float32 [r, n, classes], where there are teachers.
    """

    pictures: Tensor
    labels: Tensor
    taught: Tensor | None = None


def loss_of(logits: Tensor, labels: Tensor, taught: Tensor | None, recipe: Recipe) -> Tensor:
    """The loss of each net, float32 [s], of logits [s, b, classes], labels [s, b] and the teachers' logits, if any.

    Cross-entropy with the labels, blended with the divergence from the teachers' softened probabilities: G. Hinton,
    O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015. Teachers and student see the very same
    picture: L. Beyer et al.: Knowledge distillation: A good teacher is patient and consistent, CVPR 2022.
    """
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)
    if taught is None:
        return loss
    student, teacher = ((x / recipe.temperature).log_softmax(-1) for x in (logits, taught))
    divergence = F.kl_div(student, teacher, log_target=True, reduction="none").sum(-1).mean(-1)
    return loss.lerp(divergence * recipe.temperature**2, recipe.alpha)  # squared: it keeps the gradient's size


class Run:
    """Nets in training, and all that a run must remember to go on where it was stopped.

    Args:
        nets: with their first weights, one for each of `seeds`, which are those of the order of the pictures.
        data: augmented copies of the training digits; as many as the recipe says.
    """

    def __init__(self, nets: Sequence[nn.Module], recipe: Recipe, seeds: Sequence[int], data: Renderings) -> None:
        self.recipe, self.seeds, self.data, self.device = recipe, seeds, data, data.pictures.device
        self.net = copy.deepcopy(nets[0]).to(self.device)  # for its structure; the weights are below
        params, buffers = stack_module_state(list(nets))
        self.params = {name: value.detach().to(self.device).requires_grad_() for name, value in params.items()}
        self.state = self.params | {name: value.to(self.device) for name, value in buffers.items()}
        self.averaged = {name: value.detach().clone() for name, value in self.state.items()}
        self.rate, self.share = (torch.zeros((), device=self.device) for _ in range(2))  # set before each step
        self.rows = torch.zeros(len(seeds), recipe.batch_size, dtype=torch.int64, device=self.device)  # likewise
        self.losses = torch.zeros(len(seeds), device=self.device)  # summed over the epoch
        self.optimizer = torch.optim.AdamW(
            self.params.values(), self.rate, weight_decay=recipe.weight_decay, fused=True,
            capturable=self.device.type == "cuda",
        )  # fmt: skip
        self.steps_per_epoch = len(data.labels) // recipe.batch_size
        if not self.steps_per_epoch:
            raise ValueError(f"{len(data.labels)} training pictures are less than a batch of {recipe.batch_size}")
        self.steps = recipe.epochs * self.steps_per_epoch
        self.history: list[list[dict[str, float]]] = [[] for _ in seeds]

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history[0])

    def fit(self, validation: Digits, progress: Callable[["Run"], object], checkpoint: Path | None = None) -> None:
        """Train until the last epoch, calling `progress` after each step, which may raise to stop; save each epoch."""
        self.net.train()
        step = self.captured() if self.device.type == "cuda" else self.step
        while self.epoch < self.recipe.epochs:
            start = perf_counter()
            self.losses.zero_()
            for number, rows in enumerate(self.order(self.epoch), self.epoch * self.steps_per_epoch):
                self.rows.copy_(rows)
                self.rate.fill_(self.recipe.rate_at(number / self.steps))
                self.share.fill_(max(1 / (self.recipe.ema * self.steps + 1), 1 / (number + 1)))  # at first a plain mean
                step()
                progress(self)
            self.measure(validation, perf_counter() - start)
            if checkpoint:
                self.save(checkpoint)

    def order(self, epoch: int) -> Tensor:
        """Rows of the epoch's pictures, int64 [steps, s, b]; what does not fill a batch is left out."""
        orders = []
        for seed in self.seeds:
            generator = torch.Generator().manual_seed(seed * 10_000 + epoch)
            first = (epoch + seed) % len(self.data.pictures) * len(self.data.labels)
            orders.append(first + torch.randperm(len(self.data.labels), generator=generator))
        shape = len(self.seeds), self.steps_per_epoch, self.recipe.batch_size
        taken = torch.stack(orders)[:, : self.steps_per_epoch * self.recipe.batch_size]
        return taken.reshape(shape).transpose(0, 1).to(self.device)

    def step(self) -> None:
        """One step of every net on the pictures of its rows."""
        pixels = pixels_of(self.data.pictures.flatten(0, 1)[self.rows])
        labels = self.data.labels[self.rows % len(self.data.labels)]
        taught = None if self.data.taught is None else self.data.taught.flatten(0, 1)[self.rows]
        losses = loss_of(self.logits(pixels), labels, taught, self.recipe)
        self.optimizer.zero_grad()
        losses.sum().backward()
        self.optimizer.step()
        with torch.no_grad():
            self.losses += losses
            for name, value in self.averaged.items():
                if value.is_floating_point():
                    value.lerp_(self.state[name], self.share)

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits, float32 [s, b, classes], of each net's own pixels, float32 [s, b, 1, 28, 28]."""
        if len(self.seeds) > 1:
            return vmap(functional_call, (None, 0, 0))(self.net, self.state, pixels)
        alone = {name: value[0] for name, value in self.state.items()}
        for name, value in alone.items():
            if value.ndim == 4:  # convolutions are faster with channels last, which stacking loses
                alone[name] = value.contiguous(memory_format=torch.channels_last)
        return functional_call(self.net, alone, pixels[0].contiguous(memory_format=torch.channels_last))[None]

    def captured(self) -> Callable[[], None]:
        """`step` as a CUDA graph. What warming up changes is put back."""
        kept = copy.deepcopy(self.as_dict())
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        self.restore(kept)
        return graph.replay

    def measure(self, validation: Digits, seconds: float) -> None:
        losses = (self.losses / self.steps_per_epoch).tolist()
        for history, net, loss in zip(self.history, self.nets(), losses, strict=True):
            logits = logits_of(net, validation.pictures)
            history.append(
                {
                    "epoch": len(history) + 1,
                    "train_loss": loss,
                    "validation_loss": cross_entropy(logits, validation.labels),
                    "validation_accuracy": accuracy(logits, validation.labels),
                    "seconds": round(seconds, 2),
                }
            )

    def nets(self) -> list[nn.Module]:
        """The nets in evaluation mode, with their averaged weights."""
        nets = [copy.deepcopy(self.net).eval() for _ in self.seeds]
        for index, net in enumerate(nets):
            net.load_state_dict({name: value[index] for name, value in self.averaged.items()})
        return nets

    def as_dict(self) -> dict:
        tensors = {"state": self.state, "averaged": self.averaged}
        return tensors | {"optimizer": list(self.optimizer.state.values()), "history": self.history}

    @torch.no_grad()
    def restore(self, kept: dict) -> None:
        """Be as `as_dict` told, in the same memory, which a captured step uses."""
        for name in ("state", "averaged"):
            for key, value in getattr(self, name).items():
                value.copy_(kept[name][key])
        for parameter, moments in zip(self.params.values(), kept["optimizer"] or [{}] * len(self.params), strict=True):
            mine = self.optimizer.state[parameter]
            for key in mine.keys() | moments.keys():
                if key not in mine:
                    mine[key] = moments[key].clone()
                elif key in moments:
                    mine[key].copy_(moments[key])
                else:
                    mine[key].zero_()
        self.history = kept["history"]

    def save(self, path: Path) -> None:
        """Write what the run remembers; a run that is killed meanwhile leaves the file of the epoch before."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        torch.save({"recipe": asdict(self.recipe), **self.as_dict()}, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on where `save` was called. Raises ValueError when that was a run of another recipe."""
        kept = torch.load(path, weights_only=True, map_location=self.device)
        if kept["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} was left by a run of another recipe: run without --resume, or delete it")
        self.restore(kept)
