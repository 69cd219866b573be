"""A managed process: started, found ended, started again after a pause, and what becomes of a start that fails."""

import os
import time

import pytest

from serve import process
from serve.archive import BrokenArchive
from serve.process import ManagedProcess


def managed(command, tmp_path):
    return ManagedProcess("it", command, cwd=tmp_path, environment=os.environ)


def until_told(it):
    """What `keep_running` first tells."""
    for _ in range(500):
        if told := it.keep_running():
            return told
        time.sleep(0.01)
    return None


def test_one_that_ends_is_told_once_and_started_again_after_a_pause(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LONGEST_PAUSE", 0.5)
    starts = []

    def command():
        starts.append(time.monotonic())
        return ["sh", "-c", "exit 3"]

    it = managed(command, tmp_path)
    assert until_told(it) == "it ended with exit code 3"
    assert until_told(it) == "it ended with exit code 3"
    first, second = starts
    assert second - first >= 0.5


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenArchive("no archive to serve")])
def test_a_start_that_fails_is_told_and_tried_again(tmp_path, monkeypatch, error):
    monkeypatch.setattr(process, "LONGEST_PAUSE", 0.5)
    outcomes = [error, ["sleep", "60"]]

    def command():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    it = managed(command, tmp_path)
    assert until_told(it) == f"it could not be started ({error})"
    assert it.keep_running() is None  # it pauses
    assert len(outcomes) == 1
    time.sleep(0.6)
    assert it.keep_running() is None  # it has started
    assert not outcomes
    it.stop()


def test_a_program_that_is_not_there(tmp_path):
    assert "No such file" in managed(lambda: [tmp_path / "gone"], tmp_path).keep_running()
