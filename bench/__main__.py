"""`python -m bench`: start the service and its peers, load them in turn, print, save and draw what came out."""

import argparse
import shutil
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench import images, measurements, servers, summary
from train.mnist import DataError


def main() -> int:
    """0, or 1 and one line where something needed is missing."""
    args = parser().parse_args()
    if missing := [program for program in ("wrk", "luajit") if not shutil.which(program)]:
        print(f"error: missing: {', '.join(missing)}; apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    wanted = [name for name in args.peers.split(",") if name]
    if unknown := set(wanted) - set(servers.PEERS):
        print(f"error: no such peer: {', '.join(unknown)}; there are {', '.join(servers.PEERS)}", file=sys.stderr)
        return 1
    if wanted and not (servers.PEERS_VENV / "bin/python").exists():
        print(f"the peers are missing and left out; to have them: {servers.GET_PEERS}", file=sys.stderr)
        wanted = []
    try:
        with tempfile.TemporaryDirectory(prefix="mnist-bench-") as folder:
            results = bench(args, wanted, Path(folder))
    except (DataError, servers.NotStarted) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    show(results)
    if not args.no_save:
        summary.save(results)
        summary.draw(results["closed_loop"])
        print(f"written: {summary.RESULTS}, {summary.FIGURES}/{{throughput,latency}}.svg")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m bench", description="Measure the speed of the service and its peers.")
    p.add_argument("--rounds", type=int, default=5, help="rounds of the closed loop (default: %(default)s)")
    p.add_argument("--seconds", type=int, default=3, help="whole seconds of each run (default: %(default)s)")
    p.add_argument("--connections", default="1,16,64,256", help="of the closed loop (default: %(default)s)")
    p.add_argument("--peers", default="fastapi,mosec,mosec-tuned", help=f"of {','.join(servers.PEERS)} (%(default)s)")
    p.add_argument("--no-save", action="store_true", help="leave results.json and the figures as they are")
    return p


def bench(args: argparse.Namespace, wanted: list[str], folder: Path) -> dict:
    """All measurements."""
    files = images.write(folder)
    plain, many = files["png"], [int(each) for each in args.connections.split(",")]
    with ExitStack() as running:
        stack, start = measurements.start(folder)
        running.callback(stack.stop)
        service, direct = servers.ours(stack)
        others = running.enter_context(servers.peers(wanted, folder))
        closed = measurements.rounds([service, direct, *others], plain, many, args.rounds, args.seconds)
        most = max(many, key=lambda each: summary.middle(closed, str(each), "service", "rate"))
        mosec = [other for other in others if other.name == "mosec"]
        return {
            "taken": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": "python -m bench " + " ".join(sys.argv[1:]),
            "machine": servers.versions(),
            "start_seconds": start,
            "closed_loop": closed,
            "formats": measurements.formats([service, *mosec], files, args.seconds, min(args.rounds, 3)),
            "batch": measurements.batches(service, plain, args.seconds),
            "open_loop": measurements.open_loops(service, plain, most, args.seconds * 2, args.rounds),
            "neighbour": measurements.neighbour(service, plain, args.seconds * 2),
            "memory_mib": servers.memory(stack),
        }


def show(results: dict) -> None:
    """Print what was measured."""
    print(", ".join(f"{name} {what}" for name, what in results["machine"].items()))
    print(summary.table(results["closed_loop"]))
    for each in results["formats"][-1:]:
        for form, runs in each.items():
            print(f"{form:5} at 64: " + ", ".join(f"{name} {run['rate']:.0f}/s" for name, run in runs.items()))
    for callers, run in results["batch"].items():
        print(f"batch endpoint, {callers} callers: {run['pictures']} pictures/s")
    print(summary.open_loop(results["open_loop"]))
    print(f"beside pictures of 12 megapixels: {results['neighbour']['beside']}; alone {results['neighbour']['alone']}")
    print(f"started in {results['start_seconds']} s; memory, MiB: {results['memory_mib']}")


if __name__ == "__main__":
    sys.exit(main())
