"""Figures for people: a table on the terminal, results.json, two plots."""

import json
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
FIGURES = HERE.parent / "docs/figures"

Rounds = list[dict[str, dict[str, dict[str, float]]]]  # round -> connections -> server -> Run


def middle(rounds: Rounds, connections: str, server: str, what: str) -> float:
    """Median over the rounds."""
    return median(each[connections][server][what] for each in rounds)


def ratios(rounds: Rounds, connections: str, server: str, what: str = "rate") -> float:
    """Median over the rounds of the service's figure divided by this server's of the same round."""
    return median(each[connections]["service"][what] / each[connections][server][what] for each in rounds)


def table(rounds: Rounds) -> str:
    """One line a server and number of connections, with the service's ratio to it."""
    lines = [
        f"{'connections':>11} {'server':12} {'answers/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7} {'ratio':>7}"
    ]
    for connections, servers in rounds[0].items():
        for server in servers:
            rate, p50, p99 = (middle(rounds, connections, server, what) for what in ("rate", "p50", "p99"))
            failed = sum(each[connections][server]["failed"] for each in rounds)
            ratio = ratios(rounds, connections, server)
            lines.append(f"{connections:>11} {server:12} {rate:10.0f} {p50:8.2f} {p99:8.2f} {failed:7.0f} {ratio:7.2f}")
    lines.append("medians of the rounds; ratio: the service's answers/s to this server's, median of the rounds' ratios")
    return "\n".join(lines)


def open_loop(runs: list[dict]) -> str:
    """Medians of the runs at half the peak and at twice it: right answers as a share of the peak, then all outcomes."""
    lines = []
    for name in ("half", "double"):
        share = median(run[name]["good"]["rate"] / run["peak"] for run in runs)
        lines.append(f"open loop, {name} the peak: answered right and in time {share:.2f} of the peak")
        for outcome in sorted({outcome for run in runs for outcome in run[name]}):
            found = [run[name].get(outcome, {}) for run in runs]
            figures = {what: [each[what] for each in found if what in each] for what in ("p50", "p99")}
            times = "".join(f", {what} {median(each):.1f} ms" for what, each in figures.items() if each)
            lines.append(f"  {outcome}: {median(each.get('rate', 0) for each in found):.0f} a second{times}")
    return "\n".join(lines)


def save(results: dict) -> None:
    """Write results.json."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def draw(rounds: Rounds) -> None:
    """Throughput and latency over connections, into docs/figures/."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    servers = list(rounds[0][next(iter(rounds[0]))])
    for name, what, title in (("throughput", "rate", "answers a second"), ("latency", "p99", "99th percentile, ms")):
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        for server in servers:
            points = [(int(c), middle(rounds, c, server, what)) for c in rounds[0] if server in rounds[0][c]]
            axes.plot(
                *zip(*points, strict=True), marker="o", label=server, linewidth=2.5 if server == "service" else 1.2
            )
        axes.set(xscale="log", yscale="log", xlabel="connections", ylabel=title)
        axes.set_xticks([int(c) for c in rounds[0]], list(rounds[0]))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)
