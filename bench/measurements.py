"""The single measurements; `python -m bench` puts them together."""

import threading
import time
from pathlib import Path

from bench import closed_loop, images, open_loop
from bench.servers import Server, upload
from tests.stack import Stack

PARTS = 256  # pictures a call of the batch endpoint
WARM = 3  # seconds of load before anything is measured


def start(folder: Path) -> tuple[Stack, float]:
    """A running service, and the seconds from its command to the first answer of a prediction."""
    stack = Stack(folder)
    begun = time.monotonic()
    stack.start()
    upload(Server("service", f"http://127.0.0.1:{stack.port}/api/mnist"))
    return stack, round(time.monotonic() - begun, 2)


def rounds(servers: list[Server], file: Path, connections: list[int], count: int, seconds: float) -> list[dict]:
    """Closed loop, `count` times over: every number of connections, every server in turn."""
    for server in servers:
        closed_loop.run(server, 32, WARM, file)
    results = []
    for number in range(1, count + 1):
        results.append({})
        for many in connections:
            of_many = results[-1][str(many)] = {}
            for server in servers:
                of_many[server.name] = closed_loop.run(server, many, seconds, file).as_dict()
                print(f"round {number}/{count}: {many} connections, {server.name}: {of_many[server.name]}", flush=True)
    return results


def batches(service: Server, file: Path, seconds: float) -> dict:
    """Pictures a second through /api/mnist/batch, PARTS a call, 1 and 4 callers."""
    batch = Server("batch", f"{service.url}/batch")
    runs = {str(callers): closed_loop.run(batch, callers, seconds, file, PARTS) for callers in (1, 4)}
    return {callers: run.as_dict() | {"pictures": round(run.rate * PARTS)} for callers, run in runs.items()}


def formats(servers: list[Server], files: dict[str, Path], seconds: float, count: int) -> list[dict]:
    """Closed loop with 64 connections for each format, every server in turn, `count` times over."""
    return [
        {
            form: {server.name: closed_loop.run(server, 64, seconds, file).as_dict() for server in servers}
            for form, file in files.items()
        }
        for _ in range(count)
    ]


def open_loops(service: Server, file: Path, connections: int, seconds: float, count: int) -> list[dict]:
    """Open loop at twice and at half the peak, `count` times over, right after the peak was measured: in a closed loop
    of so many connections. An answer is good if it is the one given alone, and in time."""
    alone = (upload(service, image) for image in images.read(file))
    labels = [answer["predictions"]["prediction"]["label"] for answer in alone]
    results: list[dict] = []
    for number in range(1, count + 1):
        peak = closed_loop.run(service, connections, seconds, file).rate
        results.append({"peak": peak})
        for name, rate in (("double", round(peak * 2)), ("half", round(peak / 2))):
            results[-1][name] = open_loop.run(service.url, file, labels, rate, seconds)
            print(f"open loop {number}/{count}, {name}, {rate} a second: {results[-1][name]}", flush=True)
            time.sleep(1)
    return results


def neighbour(service: Server, file: Path, seconds: float) -> dict:
    """Small uploads, 16 connections, alone and while one client loops pictures of 12 megapixels."""
    camera, stop, answered = images.camera(), threading.Event(), []

    def loop() -> None:
        while not stop.is_set():
            answered.append(upload(service, camera)["success"])

    alone = closed_loop.run(service, 16, seconds, file).as_dict()
    looping = threading.Thread(target=loop)
    looping.start()
    beside = closed_loop.run(service, 16, seconds, file).as_dict()
    stop.set()
    looping.join()
    return {"alone": alone, "beside": beside, "camera_bytes": len(camera), "camera_answers": len(answered)}
