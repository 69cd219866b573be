"""`python -m bench.http_servers`: CPU time that HTTP alone costs a request, with each server the proxy could stand on.

Each reads a multipart upload and answers with a constant as long as a prediction, in one process, from the peers'
environment (bench/requirements.txt).
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
BODY = b"x" * 870
HEADERS = (("content-type", "application/json"), ("x-request-id", "4bf92f3577b34da6"))


def http1(port: int) -> None:
    import asyncio

    import uvloop
    from http1 import Exchange, Server

    async def application(exchange: Exchange) -> None:
        while await exchange.piece():
            pass
        exchange.respond(200, HEADERS, BODY)

    async def serve() -> None:
        server = Server(application)
        server.listen("127.0.0.1", port)
        while True:
            await asyncio.sleep(0.1)
            server.look()

    uvloop.run(serve())


def granian(port: int) -> None:
    import uvloop
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    class Application:
        async def __rsgi__(self, scope, protocol) -> None:
            await protocol()
            protocol.response_bytes(200, [*HEADERS], BODY)

    options = {"interface": Interfaces.RSGI, "http": HTTPModes.http1, "websockets": False, "log_enabled": False}
    uvloop.run(Server(Application(), address="127.0.0.1", port=port, **options).serve())


def uvicorn(port: int) -> None:
    import uvicorn

    headers = [(name.encode(), value.encode()) for name, value in (*HEADERS, ("content-length", str(len(BODY))))]

    async def application(scope, receive, send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    uvicorn.run(application, port=port, loop="uvloop", http="httptools", lifespan="off", log_level="error")


def aiohttp(port: int) -> None:
    import asyncio

    import uvloop
    from aiohttp import web

    async def application(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=BODY, headers=dict(HEADERS))

    async def serve() -> None:
        server = web.Server(application, access_log=None)
        await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
        await asyncio.Event().wait()

    uvloop.run(serve())


SERVERS = {"http1": http1, "granian": granian, "uvicorn": uvicorn, "aiohttp": aiohttp}


def main() -> int:
    """Measure in turn and print; 1 and one line where something needed is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.http_servers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=4, help="whole seconds of each run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts (default: %(default)s)")
    parser.add_argument("--serve", nargs=2, metavar=("SERVER", "PORT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        SERVERS[args.serve[0]](int(args.serve[1]))
        return 0
    from bench import pictures, servers

    if not shutil.which("wrk") or not (servers.PEERS_VENV / "bin/python").exists():
        print(f"error: wrk or the peers are missing: apt-get install wrk; {servers.GET_PEERS}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="mnist-http-") as folder:
        file = pictures.write(Path(folder))["png"]
        print(f"{'server':10} {'connections':>11} {'answers/s':>10} {'CPU us':>7}")
        for name in SERVERS:
            [port] = servers.free_ports(1)
            command = [servers.PEERS_VENV / "bin/python", "-m", "bench.http_servers", "--serve", name, str(port)]
            process = psutil.Popen(list(map(str, command)), cwd=ROOT)
            try:
                time.sleep(2)
                server = servers.Server(name, f"http://127.0.0.1:{port}/api/mnist")
                for connections in (64, 256):
                    runs = [_cost(process, server, connections, args.seconds, file) for _ in range(args.rounds)]
                    rate, cost = max(rate for rate, _ in runs), min(cost for _, cost in runs)
                    print(f"{name:10} {connections:>11} {rate:10.0f} {cost:7.1f}", flush=True)
            finally:
                process.kill()
                process.wait()
    return 0


def _cost(process, server, connections: int, seconds: int, file: Path) -> tuple[float, float]:
    from bench import closed_loop

    before = sum(process.cpu_times()[:2])
    run = closed_loop.run(server, connections, seconds, file)
    return run.rate, (sum(process.cpu_times()[:2]) - before) / (run.rate * seconds) * 1e6


if __name__ == "__main__":
    sys.exit(main())
