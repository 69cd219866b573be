"""A whole service of our own to break: `python -m serve` on free ports, its processes, what it tells of itself."""

import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
PORTS = ("PORT", "TS_INFERENCE_PORT", "TS_MANAGEMENT_PORT", "TS_METRICS_PORT")
START = 120  # seconds that a start may take on a busy machine


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below those that the system gives to outgoing connections meanwhile.

    Each worker of pytest-xdist has a range of its own, so that two of them never choose the same one.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = 17_000 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports: set[int] = set()  # no port twice, which chance gives once in some thousand stacks
    while len(ports) < count:
        port = 15_000 + worker * each + random.randrange(each)  # noqa: S311
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return [*ports]


def wait_until(happened: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `happened` gives once it is true; AssertionError naming `what` if it never is."""
    until = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return result


class Stack:
    """Supervisor, proxy, TorchServe and its workers.

    Args:
        folder: where its logs and tokens go.
        root: the checkout that it runs from.
        settings: environment variables of the service.
    """

    def __init__(self, folder: Path, root: Path = ROOT, **settings: str) -> None:
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.port = self.ports["PORT"]
        self.run, self.output = folder / "run", folder / "output.log"
        self._root = root
        self.environment = os.environ | {name: str(port) for name, port in self.ports.items()}
        self.environment |= {"RUN_DIR": str(self.run), "HOST": "127.0.0.1", **settings}

    def start(self, output: int | None = None) -> None:
        """Start it; returns once it is ready. `output`: descriptor of what it writes to instead of a file."""
        command = [sys.executable, "-m", "serve"]
        with self.output.open("ab") as file:
            to = output or file
            self.supervisor = psutil.Popen(
                command, cwd=self._root, env=self.environment, stdout=to, stderr=to, start_new_session=True
            )
        wait_until(lambda: self.ready or self.supervisor.poll() is not None, START, "a ready service")
        assert self.ready, self.output.read_text()
        if output is None:  # until the supervisor has seen it, too, what dies is a failed start
            wait_until(lambda: "ready in " in self.output.read_text(), START, "the supervisor's word")

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM; its exit code. Whoever is left is killed."""
        everybody = self.processes
        with suppress(psutil.NoSuchProcess):
            self.supervisor.send_signal(signal.SIGTERM)
        try:
            return self.supervisor.wait(seconds)
        finally:
            for process in everybody:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def kill(self) -> None:
        """SIGKILL for all of it at once: supervisor, proxy, JVM, workers. Nothing is left of it."""
        family, java = self.processes, self.java if self.processes else None
        temporary = java.environ().get("TEMP") if java else None
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)

    def get(self, path: str, seconds: float = 5) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body of a GET to the proxy; None where nobody answers."""
        return _get(self.port, path, seconds, {})

    @property
    def ready(self) -> bool:
        answer = self.get("/readyz")
        return answer is not None and answer[0] == 200

    @property
    def processes(self) -> list[psutil.Process]:
        """The supervisor and everybody below it."""
        with suppress(psutil.NoSuchProcess):
            return [self.supervisor, *self.supervisor.children(recursive=True)]
        return []

    def _child(self, word: str) -> psutil.Process | None:
        for process in self.supervisor.children():
            with suppress(psutil.NoSuchProcess):
                if any(word in part for part in process.cmdline()):
                    return process
        return None

    @property
    def proxy(self) -> psutil.Process | None:
        return self._child("proxy")

    @property
    def java(self) -> psutil.Process | None:
        return self._child("org.pytorch.serve.ModelServer")

    def workers(self, model: str = "mnist_small") -> list[psutil.Process]:
        """The running workers of a model, as the management API names them."""
        keys = json.loads((self.run / str(self.port) / "key_file.json").read_text())
        token = {"Authorization": f"Bearer {keys['management']['key']}"}
        answer = _get(self.ports["TS_MANAGEMENT_PORT"], f"/models/{model}", 5, token)
        if answer is None or answer[0] != 200:
            return []
        found = []
        for worker in json.loads(answer[2])[0]["workers"]:
            with suppress(psutil.NoSuchProcess, ValueError):
                if worker["status"] == "READY" and worker["pid"] > 0:
                    found.append(psutil.Process(worker["pid"]))
        return found

    def wait_ready(self, seconds: float = START) -> None:
        wait_until(lambda: self.ready, seconds, "a ready service")


class Proxy:
    """A proxy with settings of its own in front of a stack's TorchServe: it starts in a second.

    Args:
        stack: whose TorchServe it uses.
        output: file of its access log.
        settings: environment variables.
    """

    def __init__(self, stack: Stack, output: Path, **settings: str) -> None:
        self._stack, self.output = stack, output
        [self.port] = free_ports(1)
        key_file = stack.run / str(stack.port) / "key_file.json"
        self._environment = stack.environment | {"PORT": str(self.port), "TS_KEY_FILE": str(key_file), **settings}

    def start(self, ready: bool = True) -> None:
        """Start it; returns once it answers, or is ready."""
        with self.output.open("ab") as file:
            self.process = psutil.Popen(
                [sys.executable, "-m", "proxy"], cwd=ROOT, env=self._environment, stdout=file, stderr=file
            )
        path = "/readyz" if ready else "/livez"
        wait_until(lambda: self._status(path) == 200 or self.process.poll() is not None, START, f"the proxy's {path}")
        assert self.process.poll() is None, self.output.read_text()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        with suppress(psutil.NoSuchProcess):
            self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            with suppress(psutil.NoSuchProcess):
                self.process.kill()

    def get(self, path: str) -> str:
        """Body of a GET."""
        answer = _get(self.port, path, 5, {})
        assert answer is not None, f"no answer to {path}"
        return answer[2].decode()

    def _status(self, path: str) -> int:
        answer = _get(self.port, path, 5, {})
        return answer[0] if answer else 0

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of its access log so far."""
        return [json.loads(line) for line in self.output.read_text().splitlines() if line.startswith('{"time"')]


def _get(port: int, path: str, seconds: float, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes] | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    with suppress(OSError, HTTPException):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    connection.close()
    return None


@contextmanager
def proxy_beside(stack: Stack, folder: Path, ready: bool = True, **settings: str) -> Iterator[Proxy]:
    """A second proxy for the time of the block, with a JSON access log. It is killed at the end."""
    proxy = Proxy(stack, folder / "proxy.log", **settings)
    try:
        proxy.start(ready)
        yield proxy
    finally:
        with suppress(psutil.NoSuchProcess):
            proxy.process.kill()
        proxy.process.wait()


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Stack]:
    """A stack for the time of the block. It is killed at the end: a graceful shutdown takes seconds."""
    stack = Stack(folder, **settings)
    try:
        stack.start()
        yield stack
    finally:
        stack.kill()
