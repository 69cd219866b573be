"""MNIST -> renderings -> teachers and their logits -> LeNet, fine-tuned, temperature folded in -> weights and record.

On CUDA the seeds are trained as one stack; on a CPU two at a time, each on a thread of its own. What takes long and can
be used again is kept in run/train/, in files named by the digest of all that they depend on.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

import lenet
from digit import MODEL_FILE
from lenet import LeNet
from train import augment, habits, loop, mnist, own_model, teacher
from train.loop import Renderings, Run
from train.measure import accuracy, cross_entropy, logits_of, pixels_of, temperature_of
from train.mnist import Digits
from train.own_model import ROOT
from train.recipe import FULL, QUICK, SEEDS, Plan, Recipe
from train.teacher import Teacher

SERVED_SEED = 1
RUN = ROOT / "run" / "train"  # what runs leave behind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="the plan of half a minute instead of the full one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SERVED_SEED], metavar="SEED", help="a net for each; "
                        "the one with the lowest validation loss is served; default: %(default)s")  # fmt: skip
    parser.add_argument("--all-seeds", dest="seeds", action="store_const", const=list(SEEDS), help="those of recipe.py")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA if there is any")
    parser.add_argument("--epochs", type=int, help="of LeNet; default: the plan's")
    parser.add_argument("--resume", action="store_true", help="continue where the same run was stopped")
    parser.add_argument("--data", type=Path, default=mnist.ROOT, help="where MNIST lies or shall lie; default: data/")
    parser.add_argument("--out", type=Path, help="weights to write; default: the served ones, with --quick run/train/")


def run(args: argparse.Namespace) -> int:
    plan = QUICK if args.quick else FULL
    plan = replace(plan, student=replace(plan.student, epochs=args.epochs or plan.student.epochs))
    if args.model != own_model.MNIST:
        plan = replace(plan, finish=plan.finish and replace(plan.finish, habits=None))
    quick_mnist = args.quick and args.model == own_model.MNIST
    out = args.out or (RUN / f"quick-{args.seeds[0]}.pt" if quick_mnist else own_model.weights_of(args.model))
    try:
        device = device_of(args.device)
        train, validation, _ = own_model.splits(args.model, args.data)
        trainer = Trainer(plan, train, validation, device, args.resume)
        nets, histories = trainer.fit(args.seeds)
    except (mnist.DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not all(histories):
        print("stopped before the first epoch of each net ended: no weights were written")
        return 130
    records = [
        write(out.parent / "seeds" / f"{seed}.pt" if len(args.seeds) > 1 else out, net, validation,
              {"plan": plan.as_dict(), "seed": seed, "device": device_name(device), "history": history})
        for seed, net, history in zip(args.seeds, nets, histories, strict=True)
    ]  # fmt: skip
    best = min(records, key=lambda record: record["validation_loss"])
    if len(args.seeds) > 1:
        for suffix in (".pt", ".json"):
            shutil.copyfile(out.parent / "seeds" / f"{best['seed']}{suffix}", out.with_suffix(suffix))
    print(f"{out}: seed {best['seed']}, validation accuracy {best['validation_accuracy']:.2%}, "
          f"loss {best['validation_loss']:.4f} with temperature {best['temperature']:.3f} folded in")  # fmt: skip
    return 130 if trainer.stopped.is_set() else 0


class Trainer:
    """Does a plan for any number of seeds; Ctrl-C keeps the weights so far."""

    def __init__(self, plan: Plan, train: Digits, validation: Digits, device: str, resume: bool = False) -> None:
        self.plan, self.train, self.validation, self.device, self.resume = plan, train, validation, device, resume
        self.stopped = Event()
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("high")  # of CUDA; the CPU's stays exact
        self._pool = ThreadPoolExecutor(1 if device == "cuda" else 2)
        files = [MODEL_FILE, *(Path(str(module.__file__)) for module in (augment, loop, teacher, lenet))]
        self._key = digest(
            b"".join(file.read_bytes() for file in files),
            device,
            train.pictures.numpy().tobytes(),
            train.labels.numpy().tobytes(),
        )

    def fit(self, seeds: Sequence[int]) -> tuple[list[nn.Module], list[list[dict]]]:
        """The net of each seed in evaluation mode on the CPU, and what each of its epochs measured."""
        plan = self.plan
        try:
            data = self.renderings(plan.student)
            if plan.teacher:
                data = replace(data, taught=self.logits(data))
            runs = [self.trained([seeded(LeNet, seed) for seed in seeds], plan.student, seeds, data, "student")]
            if plan.finish and not self.stopped.is_set():
                nets = [net for run in runs[-1] for net in run.nets()]
                runs.append(self.trained(nets, plan.finish, seeds, self.renderings(plan.finish), "finish"))
        except KeyboardInterrupt:  # before LeNet's turn
            self.stopped.set()
            return [LeNet() for _ in seeds], [[] for _ in seeds]
        last = next((stage for stage in reversed(runs) if stage[0].epoch), runs[0])
        nets = [net.cpu() for run in last for net in run.nets()]
        histories: list[list[dict]] = [[] for _ in seeds]
        for stage in runs:
            for history, more in zip(histories, (h for run in stage for h in run.history), strict=True):
                history += [epoch | {"epoch": len(history) + i} for i, epoch in enumerate(more, 1)]
        return nets, histories

    def trained(
        self, nets: Sequence[nn.Module], recipe: Recipe, seeds: Sequence[int], data: Renderings, name: str
    ) -> list[Run]:
        """The runs, ended or stopped: one for all nets on CUDA, where LeNets fit side by side, else one for each."""
        together = self.device == "cuda" and name != "teacher"
        parts = [range(len(seeds))] if together else [[i] for i in range(len(seeds))]
        runs = [Run([nets[i] for i in part], recipe, [seeds[i] for i in part], data) for part in parts]
        plan = self.plan if name == "finish" else replace(self.plan, finish=None)  # no stage depends on a later one
        with tqdm(total=sum(r.steps for r in runs), desc=name, unit="batch", dynamic_ncols=True, smoothing=0.02) as bar:

            def progress(run: Run) -> None:
                if self.stopped.is_set():
                    raise KeyboardInterrupt
                bar.update()

            def train(run: Run) -> None:
                of = "-".join(map(str, run.seeds))
                what = digest(self._named(recipe), plan.as_dict(), asdict(recipe))
                checkpoint = RUN / f"{name}-{of}-{what}.checkpoint"
                if self.resume and checkpoint.exists():
                    run.load(checkpoint)
                    bar.update(run.epoch * run.steps_per_epoch)
                run.fit(self.validation, progress, checkpoint)

            with suppress(KeyboardInterrupt):  # `stopped` is set, and the runs keep the weights so far
                self.each(train, runs)
        return runs

    def each(self, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """The results of `work`, done in the pool. Ctrl-C sets `stopped`; it is raised once all that runs has ended."""
        futures = [self._pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            self.stopped.set()
            for future in futures:
                future.cancel() or future.exception()
            raise

    def renderings(self, recipe: Recipe) -> Renderings:
        """The recipe's augmented copies of all training digits."""

        def make() -> Tensor:
            copies = torch.empty(recipe.renderings, *self.train.pictures.shape, dtype=torch.uint8)
            with tqdm(total=len(copies), desc="render", unit="epoch", dynamic_ncols=True) as bar:

                def render(index: int) -> None:
                    generator = torch.Generator(self.device).manual_seed(index)
                    originals = self.train.pictures.to(self.device)
                    if recipe.habits:
                        labels = self.train.labels.to(self.device)
                        originals = habits.write(originals, labels, recipe.habits, generator)
                    copies[index] = augment.augment(originals, recipe.distortion, generator)
                    bar.update()

                self.each(render, range(len(copies)))
            return copies

        pictures = kept(f"pictures-{self._named(recipe)}", make)
        return Renderings(pictures.to(self.device), self.train.labels.to(self.device))

    def _named(self, recipe: Recipe) -> str:
        drawn = Path(habits.__file__).read_bytes() if recipe.habits else b""
        return digest(self._key, asdict(recipe.distortion), recipe.renderings, recipe.habits, drawn)

    def logits(self, data: Renderings) -> Tensor:
        """The mean of the teachers' logits for every picture, float32 [r, n, classes]."""
        plan = self.plan

        def make_teachers() -> list[dict[str, Tensor]]:
            nets = [seeded(lambda: Teacher(plan.width), seed) for seed in plan.teachers]
            runs = self.trained(nets, plan.teacher, plan.teachers, data, "teacher")
            if self.stopped.is_set():
                raise KeyboardInterrupt  # half a teacher is not worth learning from
            return [net.cpu().state_dict() for run in runs for net in run.nets()]

        name = digest(self._key, asdict(plan.teacher), plan.teachers, plan.width)
        nets = [Teacher(plan.width).to(self.device).eval() for _ in plan.teachers]
        for net, weights in zip(nets, kept(f"teachers-{name}", make_teachers), strict=True):
            net.load_state_dict(weights)

        @torch.inference_mode()
        def ask(pictures: Tensor) -> Tensor:
            parts = (pixels_of(part) for part in pictures.split(500))
            return torch.cat([sum(net(part) for net in nets) / len(nets) for part in parts])

        def make() -> Tensor:
            return torch.stack(self.each(ask, list(data.pictures))).cpu()

        return kept(f"logits-{digest(name, self._named(plan.student))}", make).to(self.device)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def digest(*parts: Any) -> str:
    """Twelve characters that name these parts: bytes, or what JSON can encode."""
    encoded = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    return hashlib.sha256(b"\0".join(encoded)).hexdigest()[:12]


def kept(name: str, make: Callable[[], Any]) -> Any:
    """What an earlier run has left in run/train/ by this name; else what `make` gives, which is left there."""
    path = RUN / f"{name}.pt"
    if not path.exists():
        value = make()
        RUN.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        torch.save(value, partial)
        os.replace(partial, path)
        return value
    return torch.load(path, weights_only=True, mmap=True)


@torch.no_grad()
def fold_temperature(net: LeNet, validation: Digits) -> float:
    """Learn the temperature on validation and divide the last layer by it; gives the temperature."""
    temperature = temperature_of(logits_of(net, validation.pictures), validation.labels)
    net.classifier[-1].weight /= temperature
    net.classifier[-1].bias /= temperature
    return temperature


def write(out: Path, net: LeNet, validation: Digits, record: dict) -> dict:
    """Write the weights, a plain state dict, and beside them, as .json, the record of what trained them; give it."""
    record["temperature"] = fold_temperature(net, validation)
    logits = logits_of(net, validation.pictures)
    record["validation_loss"] = cross_entropy(logits, validation.labels)
    record["validation_accuracy"] = accuracy(logits, validation.labels)
    record |= {"torch": torch.__version__, "python": platform.python_version(), "history": record.pop("history")}
    out.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # saved to a file, the bytes would depend on its name
    torch.save({name: value.contiguous() for name, value in net.state_dict().items()}, content)
    partial = out.with_suffix(".partial")
    partial.write_bytes(content.getvalue())
    os.replace(partial, out)
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    return record


def device_of(wanted: str) -> str:
    """`cpu` or `cuda`; `auto` takes CUDA if there is any. Raises ValueError where the wanted one is missing."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("this torch sees no CUDA device: use --device cpu")
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def record_of(weights: Path) -> dict:
    """What `fit` wrote beside the weights."""
    return json.loads(weights.with_suffix(".json").read_text())
