"""A disk without room, an output nobody takes, a checkout nobody may write: it answers, or says in one line why not."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from tests.bad_requests import BODY
from tests.load import at_once, dump, sample_cases
from tests.raw_http import exchange, request, upload
from tests.stack import ROOT, Stack, running


@contextmanager
def small_disk(folder, size):
    """A file system of `size` at `folder`; skips where nobody may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    with (folder / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(4096)):
            pass


def test_a_full_disk_costs_log_lines_and_no_answers(tmp_path, model_store):
    with (
        small_disk(tmp_path / "disk", "64m") as disk,
        running(disk, MODEL_STORE=str(model_store)) as stack,
    ):
        cases = sample_cases(stack.port)
        fill(disk)
        for _ in range(5):
            tally = at_once(stack.port, cases * 6)
            assert tally.right == tally.sent, dump(tally)
            assert exchange(stack.port, request(BODY[:-9])).code == "malformed_multipart"
        stack.workers()[0].kill()  # TorchServe has something to log
        assert at_once(stack.port, cases).right == 10
        stack.proxy.kill()  # the supervisor has something to say
        stack.wait_ready()
        assert at_once(stack.port, cases).right == 10
        (disk / "ballast").unlink()
        assert stack.stop() == 0


def test_no_room_to_start_is_reported_in_one_line(tmp_path, model_store):
    with small_disk(tmp_path / "disk", "64k") as disk:
        fill(disk)
        stack = Stack(tmp_path, MODEL_STORE=str(model_store))
        ended = subprocess.run(
            [sys.executable, "-m", "serve"],
            cwd=ROOT,
            env=stack.environment | {"RUN_DIR": str(disk / "run"), "TMPDIR": str(disk)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ended.returncode != 0
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


def test_a_checkout_that_nobody_may_write_is_served_from(tmp_path, model_store):
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "run", "data", "tests", "train/weights", "bench")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    mount = ["mount", "--bind", str(checkout), str(checkout)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(checkout)], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (checkout / "new").touch()
        with running(tmp_path, root=checkout, MODEL_STORE=str(model_store)) as stack:
            cases = sample_cases(stack.port)
            assert at_once(stack.port, cases).right == len(cases)
    finally:
        subprocess.run(["umount", str(checkout)], check=True)


def test_an_output_that_nobody_reads_stops_nothing(tmp_path, model_store):
    stack = Stack(tmp_path, MODEL_STORE=str(model_store))
    reading, writing = os.pipe()
    os.close(reading)
    stack.start(output=writing)
    os.close(writing)
    try:
        cases = sample_cases(stack.port)
        stack.proxy.kill()
        stack.wait_ready()
        assert at_once(stack.port, cases).right == len(cases)
        assert exchange(stack.port, upload(b"x")).code == "undecodable_image"
    finally:
        assert stack.stop() == 0
