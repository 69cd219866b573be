"""Settings: environment variables, parsed once at start, frozen; a bad value ends the start with the variable's name.

The table that `python -m proxy --help` prints and the README shows is made from the fields below.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


class BadSetting(ValueError):
    """An environment variable whose value cannot be used; the message names it and says what it should be."""


def _within(convert: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = convert(text)
        if not least <= value <= most:
            raise ValueError
        return value

    parse.__doc__ = f"{'a whole number' if convert is int else 'a number'} from {least:g} to {most:g}"
    return parse


def whole(least: int, most: int) -> Callable[[str], int]:
    """The parser of whole numbers within these bounds."""
    return _within(int, least, most)


def _words(text: str) -> tuple[str, ...]:
    """a comma-separated list"""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _keys(text: str) -> tuple[str, ...]:
    """a comma-separated list of keys, or nothing"""
    if text and not _words(text):  # meant to lock the API, and would leave it open
        raise ValueError
    return _words(text)


def _text(text: str) -> str:
    """some text"""
    if not text:
        raise ValueError
    return text


def _switch(text: str) -> bool:
    """0 or 1"""
    return {"0": False, "1": True}[text]


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    parse.__doc__ = "one of " + ", ".join(words)
    return parse


def setting(default: Any, parse: Callable[[str], Any], about: str) -> Any:
    return field(default=default, metadata={"parse": parse, "about": about})


port_number = whole(1, 65535)
_seconds = _within(float, 0, 3600)
_count = whole(1, 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. Each field is the environment variable of its name in capitals."""

    host: str = setting("127.0.0.1", _text, "address to listen on; 0.0.0.0 for every interface")
    port: int = setting(3001, port_number, "port to listen on")
    cors_origins: tuple[str, ...] = setting(("*",), _words, "origins whose pages may call the API")
    api_keys: tuple[str, ...] = setting((), _keys, "when set, one of these keys must come with each call of the API")
    log_format: str = setting(
        "auto", _choice("auto", "json", "text", "off"), "one line a request: JSON, for people, none; auto: by terminal"
    )

    max_body_bytes: int = setting(8 * MIB, whole(1024, 64 * MIB), "largest upload of one picture")
    max_batch_bytes: int = setting(64 * MIB, whole(1024, 1024 * MIB), "largest upload to /api/mnist/batch")
    max_batch_images: int = setting(256, whole(1, 4096), "most pictures in one call of /api/mnist/batch")
    max_held_bytes: int = setting(
        256 * MIB, whole(MIB, 64 * 1024 * MIB), "bytes of all uploads held at one time; beyond it 503"
    )
    body_seconds: float = setting(20.0, _seconds, "time for a body to arrive")
    deadline_seconds: float = setting(10.0, _seconds, "time for one answer, over queue and inference")
    drain_seconds: float = setting(0.0, _seconds, "on SIGTERM: time to go on serving while /readyz says 503 already")
    grace_seconds: float = setting(20.0, _seconds, "on SIGTERM: time for admitted requests to be answered")

    coalesce: bool = setting(
        True, _switch, "uploads that wait share one trip to TorchServe; 0: one upload, one request"
    )
    trip_pictures: int = setting(64, whole(1, 4096), "most pictures in one trip")
    trip_bytes: int = setting(MIB, whole(1024, 64 * MIB), "most bytes in one trip")
    trips: int = setting(4, whole(1, 1024), "most trips under way at one time")
    large_bytes: int = setting(64 * 1024, whole(1024, 64 * MIB), "a picture of more bytes travels alone")
    large_trips: int = setting(1, whole(1, 1024), "most trips of large pictures at one time")
    queue_pictures: int = setting(1024, _count, "most pictures waiting; beyond it 503")

    ts_host: str = setting("127.0.0.1", _text, "where TorchServe listens")
    ts_inference_port: int = setting(8080, port_number, "its inference port")
    ts_model: str = setting("mnist", _text, "name of the model there")
    ts_large_model: str = setting("mnist_large", _text, "name under which large pictures have workers of their own")
    ts_key_file: Path = setting(
        Path("run/key_file.json"), Path, "its token file; read again whenever a token is refused"
    )

    # read by `python -m serve` alone, which starts TorchServe beside the proxy
    ts_management_port: int = setting(8081, port_number, "TorchServe's management port")
    ts_metrics_port: int = setting(8082, port_number, "TorchServe's metrics port")
    ts_workers: int = setting(
        min(8, max(2, os.cpu_count() or 1)), whole(1, 1024), "its workers; by default one a core, at least 2, at most 8"
    )
    run_dir: Path = setting(Path("run"), Path, "logs and tokens go to a folder in it that is named after PORT")
    model_store: Path = setting(Path("model_store"), Path, "folder of mnist.mar and mnist.mar.sha256")


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from environment variables.

    Raises:
        BadSetting: a variable's value is not what its setting takes.
    """
    values = {}
    for setting in fields(Settings):
        text = environment.get(setting.name.upper())
        if text is None:
            continue
        parse = setting.metadata["parse"]
        try:
            values[setting.name] = parse(text)
        except (ValueError, KeyError) as error:
            raise BadSetting(f"{setting.name.upper()}={text!r}: expected {parse.__doc__}") from error
    return Settings(**values)


def table() -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, in order."""
    return [(s.name.upper(), _shown(s.default), s.metadata["about"]) for s in fields(Settings)]


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return str(int(default))
    return f"{default:g}" if isinstance(default, float) else str(default)
