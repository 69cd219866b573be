"""`python -m tests.faults chaos | soak`: the long runs, each with a report."""

import argparse
import signal
import sys

from tests.faults import chaos, soak

COMMANDS = {"chaos": chaos, "soak": soak}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break the service for real and count.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0]))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is ended
    return COMMANDS[args.command].run(args)


if __name__ == "__main__":
    sys.exit(main())
