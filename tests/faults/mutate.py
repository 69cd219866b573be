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

from tests.faults.stack import ROOT


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
        "an upload lost with the worker that had it", "proxy/predictor.py",
        "        except ModelServerError:\n            replies = [_AGAIN] * len(images)\n",
        "        except ZeroDivisionError:\n            replies = []\n",
        "tests/faults/test_processes.py -k all_workers",
    ),
    Protection(
        "a picture that kills workers taking its companions with it", "proxy/predictor.py",
        "_upload((images[index],), ", "_upload((images[0],), ",
        "tests/test_predictor.py",
    ),
    Protection(
        "a JVM that stays dead", "serve/process.py",
        "if monotonic() >= self._due:", "if not self._started:",
        "tests/faults/test_processes.py -k killed_jvm",
    ),
    Protection(
        "waiting for ever on a TorchServe that hangs", "proxy/predictor.py",
        "deadline = monotonic() + self._settings.deadline_seconds", "deadline = monotonic() + 3600",
        "tests/faults/test_processes.py -k hanging_jvm",
    ),
    Protection(
        "/readyz saying yes while TorchServe hangs", "proxy/readiness.py", "LATELY = 4.0", "LATELY = 4000.0",
        "tests/faults/test_processes.py -k hanging_jvm",
    ),
    Protection(
        "a queue without bound", "proxy/lane.py",
        "return self.waiting > 0 and self.waiting + pictures > self._most", "return False",
        "tests/faults/test_clients.py -k queue_full",
    ),
    Protection(
        "one client's large pictures in everybody's way", "proxy/batch.py",
        "asyncio.Semaphore(self._settings.large_trips)", "asyncio.Semaphore(1000)",
        "tests/faults/test_clients.py -k batch_of_40",
    ),
    Protection(
        "clients that announce much and send nothing", "proxy/upload.py",
        "    body = bytearray()\n    try:\n", "    body = bytearray()\n    hold(request, limit)\n    try:\n",
        "tests/faults/test_clients.py -k 'slow_bodies and 8000000'",
    ),
    Protection(
        "closed connections kept until the next garbage collection", "http1/connection.py",
        "        self._exchanges.clear()\n        self._reader.close()\n", "        pass\n",
        "tests/test_http1.py -k gone_without",
    ),
    Protection(
        "slow bodies", "proxy/upload.py",
        "request.received + seconds", "request.received + 3600",
        "tests/faults/test_clients.py -k 'slow_bodies and 1000'",
    ),
    Protection(
        "slow heads and idle connections", "http1/connection.py", "HEAD_SECONDS = 15.0", "HEAD_SECONDS = 3600.0",
        "tests/faults/test_clients.py -k 'slow_heads'",
    ),
    Protection(
        "places held for clients that have left", "http1/connection.py",
        "            elif self._left > LEFT_LOOKS:\n", "            elif False:\n",
        "tests/faults/test_clients.py -k leave",
    ),
    Protection(
        "bodies over the limit", "proxy/upload.py",
        "    if length > limit:\n        raise errors.BodyTooLarge(limit)\n", "",
        "tests/faults/test_inputs.py -k 'MiB and batch'",
    ),
    Protection(
        "bodies without length that grow over the limit", "proxy/upload.py",
        "            if len(body) + len(piece) > limit:\n                raise errors.BodyTooLarge(limit)\n", "",
        "tests/faults/test_inputs.py -k 'in_chunks or chunks'",
    ),
    Protection(
        "a refused client that never reads why", "http1/connection.py",
        "            self._transport.write_eof()\n", "            self._transport.abort()\n",
        "tests/faults/test_inputs.py -k 'and_sent or MiB'",
    ),
    Protection(
        "a crowd that is refused in the way of those that are answered", "http1/server.py",
        "range(min(SLICE, len(self._inbox)))", "range(len(self._inbox))",
        "tests/test_http1.py -k turns",
    ),
    Protection(
        "a refusal at a glance of what ends elsewhere than it seems to", "proxy/glance.py",
        "        if int(length) != len(data) - found.end():\n            return None\n", "",
        "tests/test_glance.py -k left_to_the_parser",
    ),
    Protection(
        "the answer to a trip that was given up, taken for the next one's", "http1/client.py",
        "                link.transport.abort()\n", "                self._free[address].append(link)\n",
        "tests/test_http1_client.py -k gives_up",
    ),
    Protection(
        "a head that has begun, and a refusal at a glance in the middle of it", "http1/reader.py",
        "        self.head = self.head or 1  # of the chunk in which the message before it ended\n", "        pass\n",
        "tests/test_glance.py -k nothing_else",
    ),
    Protection(
        "trailers that become the next request's headers", "http1/reader.py",
        "        if self.exchange:  # a trailer: nobody asks for it, and the next request's it must not become\n"
        "            return\n", "",
        "tests/test_http1.py -k trailers_are",
    ),
    Protection(
        "trailers without end", "http1/reader.py",
        "        self.head += len(data)\n", "        self.head += 0 if self.exchange else len(data)\n",
        "tests/test_http1.py -k without_end",
    ),
    Protection(
        "requests without end ahead of their answers", "http1/reader.py",
        "        if len(self._exchanges) > PIPELINED:\n", "        if False:\n",
        "tests/test_http1.py -k come_early",
    ),
    Protection(
        "a body in tiny pieces, all of them waiting", "http1/connection.py",
        " or self._queued > 1:\n", ":\n",
        "tests/test_http1.py -k small_pieces",
    ),
    Protection(
        "the end of an answer that nobody takes", "http1/connection.py",
        "untaken = self._deaf > 0 or self._transport.is_closing()", "untaken = self._deaf > 0",
        "tests/test_http1.py -k leaves_the_end",
    ),
    Protection(
        "a client that never stops sending", "http1/connection.py",
        "        if self._dropped > LINGER_BYTES:\n", "        if False:\n",
        "tests/test_http1.py -k never_stops",
    ),
    Protection(
        "answers that nobody takes", "http1/connection.py",
        "untaken = self._deaf > 0 or self._transport.is_closing()", "untaken = self._transport.is_closing()",
        "tests/test_http1.py -k not_read",
    ),
    Protection(
        "heads without end", "http1/reader.py",
        "        if self.head > HEAD_BYTES:\n", "        if False:\n",
        "tests/test_http1.py -k no_request",
    ),
    Protection(
        "bodies that come faster than they are taken", "http1/connection.py",
        "full = reading is not None and reading.held > BACKLOG", "full = False",
        "tests/test_http1.py -k no_faster",
    ),
    Protection(
        "gzip bombs", "proxy/upload.py", 'if not known or "content-encoding" in request.headers:', "if not known:",
        "tests/faults/test_inputs.py -k gzip",
    ),
    Protection(
        "malformed bodies that stay in memory", "proxy/upload.py",
        "from error.with_traceback(None)", "from error",
        "tests/test_upload.py",
    ),
    Protection(
        "thousands of parts", "proxy/upload.py", "most == 1", "most == 0",
        "tests/faults/test_inputs.py -k 'pictures or batch'",
    ),
    Protection(
        "decompression bombs", "handler/decode.py",
        "    if width * height > max_pixels:\n        raise _too_large(max_pixels)\n", "",
        "tests/faults/test_inputs.py -k bomb",
    ),
    Protection(
        "what a decoder raises on a mutated file", "handler/decode.py",
        "    except Exception as error:  # mutated", "    except ZeroDivisionError as error:  # mutated",
        "tests/faults/test_inputs.py -k 'mutated or cut_off or bomb'",
    ),
    Protection(
        "admitted requests dropped on SIGTERM", "proxy/__main__.py",
        "        await _idle(app, settings.grace_seconds)\n", "        return\n",
        "tests/faults/test_stopping.py -k admitted",
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
        "tests/faults/test_security.py -k without_its_token",
    ),
    Protection(
        "models registered over HTTP", "config.properties", "enable_model_api=false", "enable_model_api=true",
        "tests/faults/test_security.py -k registered",
    ),
    Protection(
        "TorchServe reached from other machines", "serve/torchserve.py", 'f"http://127.0.0.1:', 'f"http://0.0.0.0:',
        "tests/faults/test_security.py -k loopback",
    ),
    Protection(
        "an archive that was changed after packing", "serve/archive.py", "!= [checksum(archive)]", "== []",
        "tests/faults/test_security.py -k packed_one",
    ),
    Protection(
        "a library that tells its maker", "handler/forward.py",
        'os.environ["ORT_DISABLE_TELEMETRY"] = "1"', "pass",
        "tests/faults/test_security.py -k tells_nobody",
    ),
    Protection(
        "weights that run code", "handler/forward.py", "weights_only=True", "weights_only=False",
        "tests/faults/test_security.py -k unpickled",
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
