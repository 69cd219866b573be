"""Takes out each protection in turn, in a copy of the tree, and shows the test that then turns red.

A protection whose absence no test notices is a finding; so is a line that is no longer there to be taken out.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.stack import ROOT


class Protection(NamedTuple):
    """What protects against what: the file, the text to take out and what to put there, the tests that must fail."""

    against: str
    file: str
    text: str
    instead: str
    tests: str


PROTECTIONS = (
    Protection(
        "one broken picture failing its whole batch", "handler/reader.py",
        "        except PictureError as error:\n", "        except ZeroDivisionError as error:\n",
        "tests/faults/test_processes.py -k broken_picture",
    ),
    Protection(
        "an upload lost with the worker that had it", "proxy/api.py",
        "        if failed:\n", "        if False:\n",
        "tests/faults/test_processes.py -k all_workers",
    ),
    Protection(
        "an image that kills workers taking others with it", "proxy/api.py",
        "self._admission.batchers[SizeClass.ISOLATED]", "self._admission.batchers[SizeClass.SMALL]",
        "tests/faults/test_processes.py -k kills_workers",
    ),
    Protection(
        "a JVM that stays dead", "serve/process.py",
        "if monotonic() >= self._due:", "if not self._started:",
        "tests/faults/test_processes.py -k killed_jvm",
    ),
    Protection(
        "waiting for ever on a TorchServe that hangs", "proxy/api.py",
        "deadline = monotonic() + self._settings.deadline_seconds", "deadline = monotonic() + 3600",
        "tests/faults/test_processes.py -k hanging_jvm",
    ),
    Protection(
        "/readyz saying yes while TorchServe hangs", "proxy/health.py", "RECENT = 4.0 ", "RECENT = 4000.0 ",
        "tests/faults/test_processes.py -k hanging_jvm",
    ),
    Protection(
        "a queue without bound", "proxy/batcher.py",
        "        if self.queued and self.queued + images > self._limits.queue_size:\n", "        if False:\n",
        "tests/faults/test_clients.py -k queue_full",
    ),
    Protection(
        "huge images in everybody's way", "proxy/admission.py",
        "isolated = pixels(item.image) > self._settings.isolated_pixels", "isolated = False",
        "tests/integration/test_batching.py -k huge",
    ),
    Protection(
        "bodies that fill the memory", "proxy/admission.py",
        "        if others and self.buffered + size > self._settings.max_buffered_bytes:\n", "        if False:\n",
        "tests/faults/test_refusals.py -k memory",
    ),
    Protection(
        "clients that announce much and send nothing", "proxy/upload.py",
        "        body = bytearray()\n", "        body = bytearray()\n        reserve(request, limit)\n",
        "tests/faults/test_clients.py -k 'slow_bodies and 8000000'",
    ),
    Protection(
        "slow bodies", "proxy/app.py",
        "            if now > request.body_due:\n", "            if False:\n",
        "tests/faults/test_clients.py -k 'slow_bodies and 1000'",
    ),
    Protection(
        "slow heads and idle connections", "proxy/server.py",
        "header_read_timeout=settings.keep_alive_seconds * 1000", "header_read_timeout=3_600_000",
        "tests/faults/test_clients.py -k slow_heads",
    ),
    Protection(
        "places held for clients that have left", "proxy/app.py",
        "            elif request.watcher is None and now - request.received > WATCH_AFTER:\n",
        "            elif False:\n",
        "tests/faults/test_clients.py -k leave",
    ),
    Protection(
        "bodies over the limit", "proxy/upload.py",
        "    if int(length) > limit:\n        raise errors.BodyTooLarge(limit)\n", "",
        "tests/integration/test_inputs.py -k 'MiB and batch'",
    ),
    Protection(
        "bodies without length that grow over the limit", "proxy/upload.py",
        "            if len(body) + len(piece) > limit:\n                raise errors.BodyTooLarge(limit)\n", "",
        "tests/integration/test_inputs.py -k 'in_chunks or chunks'",
    ),
    Protection(
        "a refused client that never reads why", "proxy/app.py",
        "            await _discard_body(request)\n", "            pass\n",
        "tests/integration/test_http_clients.py -k python_client",
    ),
    Protection(
        "requests without exactly one Host", "proxy/app.py",
        ' and len(request.headers.get_all("host")) != 1:', " and False:",
        "tests/integration/test_rfc9112.py -k Host",
    ),
    Protection(
        "gzip bombs", "proxy/upload.py", ' or "content-encoding" in request.headers:', ":",
        "tests/integration/test_inputs.py -k gzip",
    ),
    Protection(
        "malformed bodies that stay in memory", "proxy/upload.py",
        "from error.with_traceback(None)", "from error",
        "tests/unit/test_upload.py",
    ),
    Protection(
        "thousands of parts", "proxy/upload.py", "most == 1", "most == 0",
        "tests/integration/test_inputs.py -k 'pictures or batch'",
    ),
    Protection(
        "decompression bombs", "handler/decode.py",
        "    if width * height > max_pixels:\n        raise _too_large(max_pixels)\n", "",
        "tests/integration/test_inputs.py -k bomb",
    ),
    Protection(
        "what a decoder raises on a mutated file", "handler/decode.py",
        "    except Exception as error:  # mutated", "    except ZeroDivisionError as error:  # mutated",
        "tests/integration/test_inputs.py -k 'mutated or cut_off or bomb'",
    ),
    Protection(
        "admitted requests dropped on SIGTERM", "proxy/server.py",
        "    while app.in_flight and monotonic() < end:\n", "    while False:\n",
        "tests/faults/test_stopping.py -k admitted",
    ),
    Protection(
        "connections closed on a request while draining", "proxy/server.py",
        "app.closing = State.CLOSING, True", "app.closing = State.CLOSING, False",
        "tests/faults/test_stopping.py -k idle_connection",
    ),
    Protection(
        "processes left behind by a dead supervisor", "serve/process.py",
        "    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)\n", "",
        "tests/faults/test_stopping.py -k outlives",
    ),
    Protection(
        "an output that nobody takes", "serve/supervisor.py",
        "with suppress(OSError):  # a full disk", "with suppress(ZeroDivisionError):  # a full disk",
        "tests/faults/test_disk.py -k output",
    ),
    Protection(
        "TorchServe answering without its token", "config.properties",
        "disable_token_authorization=false", "disable_token_authorization=true",
        "tests/integration/test_security.py -k without_its_token",
    ),
    Protection(
        "models registered over HTTP", "config.properties", "enable_model_api=false", "enable_model_api=true",
        "tests/integration/test_security.py -k registered",
    ),
    Protection(
        "TorchServe reached from other machines", "serve/torchserve.py", 'f"http://127.0.0.1:', 'f"http://0.0.0.0:',
        "tests/integration/test_security.py -k loopback",
    ),
    Protection(
        "an archive that was changed after packing", "serve/archive.py", "!= [checksum(archive)]", "== []",
        "tests/integration/test_security.py -k packed_one",
    ),
    Protection(
        "a library that tells its maker", "handler/forward.py",
        'os.environ["ORT_DISABLE_TELEMETRY"] = "1"', "pass",
        "tests/integration/test_security.py -k tells_nobody",
    ),
    Protection(
        "weights that run code", "handler/forward.py", "weights_only=True", "weights_only=False",
        "tests/integration/test_security.py -k unpickled",
    ),
)  # fmt: skip


def copy(folder: Path) -> Path:
    """The tree as it is now, without what is not part of it."""
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def turns_red(protection: Protection, tree: Path) -> str:
    """Without the protection: "red" as it should, else what is wrong."""
    file = tree / protection.file
    whole = file.read_text()
    if whole.count(protection.text) != 1:
        return "NOT FOUND: the text to take out is there no more, or more than once"
    file.write_text(whole.replace(protection.text, protection.instead))
    try:
        ended = subprocess.run(_pytest(protection.tests), cwd=tree, capture_output=True, text=True)
        return {0: "GREEN: no test noticed", 1: "red"}.get(ended.returncode, f"BROKEN: {ended.stdout[-500:]}")
    finally:
        file.write_text(whole)


def _pytest(tests: str) -> list[str]:
    path, *options = tests.split(" ", 2)
    chosen = [options[0], options[1].strip("'")] if options else []
    return [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", path, *chosen]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", help="protections whose description holds this text")


def run(args: argparse.Namespace) -> int:
    failed = 0
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        tree = copy(Path(folder))
        for protection in PROTECTIONS:
            if args.only and args.only not in protection.against:
                continue
            found = turns_red(protection, tree)
            failed += found != "red"
            print(f"{found:6} without protection against {protection.against} ({protection.tests})", flush=True)
    return 1 if failed else 0
