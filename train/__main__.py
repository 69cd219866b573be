"""`python -m train COMMAND`: each command is a module of this package with `add_arguments(parser)` and `run(args)`."""

import argparse
import importlib
import sys
from types import ModuleType

from train import own_model

COMMANDS = {
    "fit": "train LeNet on MNIST and save its weights",
    "evaluate": "measure the committed weights; write metrics.json, the README's table and the figures",
    "served": "send the test pictures to a running service and count its right answers",
    "calibrate": "learn on validation when the handler says `uncertain` or `not_a_digit`",
    "pack": "make model_store/mnist.mar from the weights and handler/",
    "ablate": "train the plan one step at a time and write the table of what each step is worth",
    "robustness": "measure the served code on pictures unlike MNIST's; write the table and its figure",
}
RESEARCH = ("ablate", "robustness")
OF_ANY_MODEL = ("fit", "evaluate", "served", "pack")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train, measure and pack LeNet for MNIST.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = sys.argv[1:2]
    own_model.put_on_path(sys.argv[1:])
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if wanted == [name]:  # only the wanted command is imported: packing needs neither torchvision nor matplotlib
            module_of(name).add_arguments(command)
            if name in OF_ANY_MODEL:
                own_model.add_argument(command)
    args = parser.parse_args()
    return module_of(args.command).run(args) or 0


def module_of(command: str) -> ModuleType:
    return importlib.import_module(f"train.research.{command}" if command in RESEARCH else f"train.{command}")


if __name__ == "__main__":
    sys.exit(main())
