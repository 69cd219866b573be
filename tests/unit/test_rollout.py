"""A rollout whose new archive works in the standby and fails where it shall be served."""

import os

import pytest

from proxy.settings import Settings
from serve import rollout
from serve.archive import checksum_file
from serve.rollout import RESTART, RolloutError


def archive(folder, version):
    """A file in an archive's place, which `copy` is told to believe."""
    folder.mkdir(parents=True)
    (folder / "mnist.mar").write_text(version)
    checksum_file(folder / "mnist.mar").write_text("")
    return folder / "mnist.mar"


@pytest.fixture
def signals(monkeypatch):
    """What the supervisor is sent."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.fixture
def settings(tmp_path, monkeypatch, signals):
    monkeypatch.setattr("serve.archive.verified_version", lambda archive: archive.read_text())
    settings = Settings(run_dir=tmp_path, ts_key_file=tmp_path / "keys")
    (tmp_path / "keys").touch()
    archive(settings.home / "rollout/served", "2.0")
    archive(settings.home / "rollout/previous", "1.0")
    (settings.home / "rollout/pid").write_text("1")
    return settings


def versions(settings):
    return {path.parent.name: path.read_text() for path in settings.home.glob("rollout/*/mnist.mar")}


def test_a_rollout_keeps_the_archive_before_it(settings, signals, tmp_path, monkeypatch):
    monkeypatch.setattr(rollout, "prove", lambda *_, **__: None)
    rollout.renew(settings, archive(tmp_path / "new", "3.0"))
    assert versions(settings) == {"served": "3.0", "previous": "2.0"}
    assert signals == [(1, RESTART)]


def test_a_rollout_that_fails_leaves_both_archives_as_they_were(settings, signals, tmp_path, monkeypatch):
    def prove(*_, **__):
        if versions(settings)["served"] == "3.0":
            raise RolloutError("TorchServe was not ready")

    monkeypatch.setattr(rollout, "prove", prove)
    with pytest.raises(RolloutError):
        rollout.renew(settings, archive(tmp_path / "new", "3.0"))
    found = versions(settings)
    assert (found["served"], found["previous"]) == ("2.0", "1.0")
    assert signals == [(1, RESTART)] * 2
