"""What is measured: the service, TorchServe inside it, and peers, each a name, a URL and processes that end with it."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.stack import Stack, free_ports

HERE = Path(__file__).parent
PEERS_VENV = Path(os.environ.get("PEERS_VENV", HERE.parent / ".venv-peers")).absolute()
GET_PEERS = "python3 -m venv .venv-peers && .venv-peers/bin/pip install -r bench/requirements.txt"
PEERS = {  # name: command and environment; {port} is put in
    "fastapi": ("uvicorn peer_fastapi:app --workers 2 --port {port} --no-access-log --log-level error", {}),
    "gunicorn": ("gunicorn -w 2 --threads 8 -b 127.0.0.1:{port} peer_flask:app", {}),
    "mosec": ("python peer_mosec.py", {"MOSEC_PORT": "{port}"}),
    "mosec-tuned": ("python peer_mosec.py", {"MOSEC_PORT": "{port}", "PEER_TUNED": "1"}),
}
PATIENCE = 60  # seconds for a peer to start


@dataclass(frozen=True)
class Server:
    """Where a server takes uploads; `token` where it wants one (TorchServe)."""

    name: str
    url: str
    token: str = ""


class NotStarted(Exception):
    """A server did not start; the message says which and what it last said."""


def ours(stack: Stack) -> tuple[Server, Server]:
    """The service, and TorchServe inside it asked directly."""
    keys = json.loads((stack.run / str(stack.port) / "key_file.json").read_text())
    direct = f"http://127.0.0.1:{stack.ports['TS_INFERENCE_PORT']}/predictions/mnist"
    return (
        Server("service", f"http://127.0.0.1:{stack.port}/api/mnist"),
        Server("torchserve", direct, keys["inference"]["key"]),
    )


@contextmanager
def peers(names: list[str], folder: Path) -> Iterator[list[Server]]:
    """These peers, running. Raises NotStarted."""
    with ExitStack() as running:
        yield [running.enter_context(_peer(name, folder)) for name in names]


@contextmanager
def _peer(name: str, folder: Path) -> Iterator[Server]:
    [port] = free_ports(1)
    command, settings = PEERS[name]
    environment = os.environ | {key: value.format(port=port) for key, value in settings.items()}
    environment["PATH"] = f"{PEERS_VENV / 'bin'}:{environment['PATH']}"
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = psutil.Popen(
            command.format(port=port).split(), cwd=HERE, env=environment, stdout=output, stderr=output
        )
    server = Server(name, f"http://127.0.0.1:{port}/{'inference' if 'mosec' in name else 'api/mnist'}")
    try:
        _await(server, process, log)
        yield server
    finally:
        _end(process)


def _await(server: Server, process: psutil.Popen, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with suppress(urllib.error.URLError, OSError):
            upload(server)
            return
        time.sleep(0.2)
    raise NotStarted(f"{server.name} did not start: {log.read_text()[-500:]}")


def upload(server: Server, image: bytes = (HERE.parent / "samples/7.png").read_bytes()) -> dict:
    """The parsed answer to one upload."""
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="7.png"\r\n\r\n' + image + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": f"Bearer {server.token}"}
    with urllib.request.urlopen(urllib.request.Request(server.url, body, headers), timeout=20) as answer:  # noqa: S310
        return json.load(answer)


def _end(process: psutil.Popen) -> None:
    everybody = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(everybody, timeout=5)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def memory(stack: Stack) -> dict[str, dict[str, float]]:
    """MiB of each program of the service: resident (RSS), and with what processes share divided among them (PSS)."""
    sums: dict[str, dict[str, float]] = {}
    for process in stack.processes:
        line = " ".join(process.cmdline())
        programs = {"model_service_worker": "workers", "ModelServer": "TorchServe", "-m proxy": "proxy"}
        program = next((name for word, name in programs.items() if word in line), "supervisor")
        full = process.memory_full_info()
        for kind, size in (("rss", full.rss), ("pss", full.pss)):
            for name in (program, "all"):
                each = sums.setdefault(name, {"rss": 0.0, "pss": 0.0})
                each[kind] = round(each[kind] + size / 2**20, 1)
    return sums


def versions() -> dict[str, str]:
    """Hardware and software that the figures hold for."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown",
    )
    packages = ("torch", "torchserve", "onnxruntime", "granian", "uvloop", "opencv-python-headless")
    found = {name: version(name) for name in packages}
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split("\n")[0].split(" [")[0]
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    return {"cpu": model, "cores": str(len(os.sched_getaffinity(0))), "memory": memory, "wrk": wrk, **found}
