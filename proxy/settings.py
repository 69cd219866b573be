"""Settings: environment variables, parsed once at start, frozen; a bad value ends the start with the variable's name.

The table that `python -m proxy --help` prints and docs/settings.md shows is made from the fields below.
"""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from serve.cpus import usable_cpus

MIB = 1024 * 1024
LOG_FORMATS = ("json", "off")
NUMBERS = {int: "a whole number", float: "a number"}
WORKERS = min(8, max(2, usable_cpus()))

RENAMED = {  # a variable of version 1.0.0 -> what to set instead
    "COALESCE": "BATCH_SIZE: 1 sends each image by itself",
    "TRIP_PICTURES": "BATCH_SIZE",
    "TRIP_BYTES": "BATCH_BYTES",
    "TRIPS": "SMALL_IN_FLIGHT and LARGE_IN_FLIGHT",
    "QUEUE_PICTURES": "QUEUE_SIZE",
    "LARGE_BYTES": "ISOLATED_PIXELS, in pixels",
    "LARGE_TRIPS": "ISOLATED_IN_FLIGHT",
    "MAX_HELD_BYTES": "MAX_BUFFERED_BYTES",
    "BODY_SECONDS": "BODY_IDLE_SECONDS",
    "TS_MODEL": "TS_SMALL_MODEL and TS_LARGE_MODEL",
}


class BadSetting(ValueError):
    """An environment variable whose value cannot be used; the message names it and says what it should be."""


def setting(
    default: Any,
    about: str,
    least: float = 1,
    most: float = 1024,
    choice: tuple[str, ...] = (),
    word: tuple[Callable[[str], str], str] = (str, "words"),
) -> Any:
    """A field whose default tells its type.

    Numbers have bounds, a text may have its few choices, and a list its parser of a word with what the words are.
    """
    metadata = {"about": about, "least": least, "most": most, "choice": choice, "word": word}
    return field(default=default, metadata=metadata)


_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:*\[\]]+)(?::([0-9]{1,5}))?/?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(text: str) -> str:
    """An origin as browsers send it: in lower case, without a final slash or its scheme's own port; or `*` for all.

    Raises:
        ValueError: no origin can be equal to it (RFC 6454: scheme://host[:port]).
    """
    if text == "*":
        return text
    parts = _ORIGIN.fullmatch(text.lower())
    if not parts:
        raise ValueError(text)
    scheme, host, port = parts.groups()
    if port and int(port) > 65535:
        raise ValueError(text)
    shown = f":{int(port)}" if port and int(port) != _DEFAULT_PORTS.get(scheme) else ""
    return f"{scheme}://{host.encode('idna').decode()}{shown}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. Each field is the environment variable of its name in capitals."""

    host: str = setting("localhost", "address to listen on; 0.0.0.0 or :: for every interface")
    port: int = setting(3001, "port to listen on", most=65535)
    cors_origins: tuple[str, ...] = setting(
        ("*",),
        "origins whose pages may call the API, as https://example.org",
        word=(origin, "origins, each scheme://host[:port] as https://example.org"),
    )
    api_keys: tuple[str, ...] = setting((), "when set, one of these keys must come with each call of the API")
    log_format: str = setting("json", "access log, a line a request: json or off", choice=LOG_FORMATS)

    max_body_bytes: int = setting(8 * MIB, "largest body of POST /api/mnist", 1024, 64 * MIB)
    max_batch_bytes: int = setting(64 * MIB, "largest body of POST /api/mnist/batch", 1024, 1024 * MIB)
    max_batch_images: int = setting(256, "most images in one call of /api/mnist/batch", most=4096)
    max_buffered_bytes: int = setting(256 * MIB, "bytes of all bodies in memory; beyond it 503", MIB, MIB * MIB)
    max_connections: int = setting(8192, "most open connections; more wait to be accepted", most=MIB)
    keep_alive_seconds: int = setting(75, "time for the next request's head; then the connection is closed", 1, 3600)
    body_idle_seconds: float = setting(20.0, "a body of which nothing arrives for so long is refused", 0, 3600)
    body_bytes_per_second: int = setting(4096, "least average rate of a body after BODY_IDLE_SECONDS", most=64 * MIB)
    deadline_seconds: float = setting(10.0, "time for one answer, over queue and inference", 0, 3600)
    drain_seconds: float = setting(0.0, "on SIGTERM: time to go on serving while /readyz says 503", 0, 3600)
    grace_seconds: float = setting(20.0, "on SIGTERM: time for requests in flight to finish", 0, 3600)

    batch_size: int = setting(128, "most images in one batch to TorchServe; 1 sends each image by itself", most=4096)
    batch_bytes: int = setting(
        128 * 1024, "most bytes in one batch; a larger image is a batch of its own", 1024, 64 * MIB
    )
    queue_size: int = setting(3072, "most small images waiting, of others a third; beyond it 503", most=MIB)
    small_request_bytes: int = setting(2048, "a request of at most so many bytes is small, others large", 0, 64 * MIB)
    small_in_flight: int = setting(2, "most batches of small requests in flight")
    large_in_flight: int = setting(0, "most batches of large requests in flight; 0: one more than TS_WORKERS", 0)
    isolated_pixels: int = setting(16_000_000, "an image of more pixels makes a batch by itself", most=1024 * MIB)
    isolated_in_flight: int = setting(1, "most batches of isolated images in flight")

    ts_host: str = setting("127.0.0.1", "where TorchServe listens")
    ts_inference_port: int = setting(8080, "its inference port", most=65535)
    ts_small_model: str = setting("mnist_small", "name under which it takes batches of small requests")
    ts_large_model: str = setting("mnist_large", "name under which it takes all other batches")
    ts_key_file: Path = setting(Path("run/key_file.json"), "its token file; read again when a token is refused")

    # read by `python -m serve` alone, which starts TorchServe beside the proxy
    ts_management_port: int = setting(8081, "TorchServe's management port", most=65535)
    ts_metrics_port: int = setting(8082, "TorchServe's metrics port", most=65535)
    ts_workers: int = setting(WORKERS, "its workers for large requests; default: one a usable CPU, 2 to 8")
    run_dir: Path = setting(Path("run"), "logs and tokens go to a folder in it that is named after PORT")
    model_store: Path = setting(Path("model_store"), "folder of mnist.mar and mnist.mar.sha256")

    @property
    def large_slots(self) -> int:
        """LARGE_IN_FLIGHT, or what keeps every worker busy: a batch for each, and one that waits for the next."""
        return self.large_in_flight or self.ts_workers + 1

    @property
    def large_queue_size(self) -> int:
        """Large images take longer, so that fewer of them are answered in the time that a client waits."""
        return max(1, self.queue_size // 3)

    @property
    def home(self) -> Path:
        """The folder of all that runs for this port."""
        return self.run_dir.absolute() / str(self.port)

    @property
    def own_host(self) -> str:
        """Where this machine itself reaches the proxy."""
        anywhere = ("0.0.0.0", "::", "localhost")  # noqa: S104  :: takes IPv4 as well, and ::1 may be missing
        return "127.0.0.1" if self.host in anywhere else self.host


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from environment variables.

    Raises:
        BadSetting: a variable's value is not what its setting takes, or its name is no longer in use.
    """
    for old, new in RENAMED.items():
        if old in environment:
            raise BadSetting(f"{old} is now {new}")
    given = {s: environment[s.name.upper()] for s in fields(Settings) if s.name.upper() in environment}
    return Settings(**{s.name: _parsed(s, text) for s, text in given.items()})


def _parsed(setting: "Field[Any]", text: str) -> Any:
    kind: Any = type(setting.default)
    rules = setting.metadata
    value: Any = None
    if kind is tuple:  # an empty list only where nothing is written: "," is a mistake, perhaps one that opens the API
        parse, words = rules["word"]
        expected = f"a comma-separated list of {words}"
        with suppress(ValueError):
            found = tuple(parse(word.strip()) for word in text.split(",") if word.strip())
            value = found if found or not text else None
    elif kind in NUMBERS:
        expected = f"{NUMBERS[kind]} from {rules['least']:g} to {rules['most']:g}"
        with suppress(ValueError):
            value = number if rules["least"] <= (number := kind(text)) <= rules["most"] else None
    else:
        expected = "one of " + ", ".join(rules["choice"]) if rules["choice"] else "some text"
        value = kind(text) if text and text in (rules["choice"] or (text,)) else None
    if value is None:
        raise BadSetting(f"{setting.name.upper()}={text!r}: expected {expected}")
    return value


def table() -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, in order."""
    return [(s.name.upper(), _shown(s.default), s.metadata["about"]) for s in fields(Settings)]


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)
