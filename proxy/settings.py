"""Settings: environment variables, parsed once at start, frozen; a bad value ends the start with the variable's name.

The table that `python -m proxy --help` prints and docs/settings.md shows is made from the fields below.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AnyUrl, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from serve.cpus import usable_cpus

MIB = 1024 * 1024
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
    """An environment variable whose value cannot be used; the message names it and says what is wrong."""


def words(value: Any) -> Any:
    """The words of a comma-separated text. "" has none; "," is refused, since it may be a typo that opens the API."""
    if not isinstance(value, str):
        return value
    found = [word for word in value.split(",") if word.strip()]
    if value and not found:
        raise ValueError("expected words, separated by commas")
    return found


def origin(text: str) -> str:
    """An origin (RFC 6454) as browsers send it, or `*` for all. Raises ValueError where it is none."""
    if text == "*":
        return text
    with suppress(ValidationError):
        url = str(AnyUrl(text.lower())).removesuffix("/")
        if re.fullmatch(r"[^:/]+://(?!.*\.\.)[^/?#@*]+", url):
            return url
    raise ValueError("expected origins, each scheme://host[:port] as https://example.org")


def setting(default: Any, about: str, **bounds: Any) -> Any:
    """A field with what --help says of it."""
    return Field(default, description=about, **bounds)


Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=4096)]
Amount = Annotated[int, Field(ge=0, le=MIB * MIB)]
Positive = Annotated[int, Field(ge=1, le=MIB * MIB)]
Bytes = Annotated[int, Field(ge=1024, le=MIB * MIB)]
Seconds = Annotated[float, Field(ge=0, le=3600)]
Keys = Annotated[tuple[Annotated[str, Field(pattern="^[ -~]+$")], ...], BeforeValidator(words)]  # ASCII
Origins = Annotated[tuple[Annotated[str, AfterValidator(origin)], ...], BeforeValidator(words)]


class Settings(BaseModel):
    """What can be set. Each field is the environment variable of its name in capitals."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, str_min_length=1, str_strip_whitespace=True
    )

    host: str = setting("localhost", "address to listen on; 0.0.0.0 or :: for every interface")
    port: Port = setting(3001, "port to listen on")
    cors_origins: Origins = setting(("*",), "origins whose pages may call the API, as https://example.org")
    api_keys: Keys = setting((), "when set, one of these keys must come with each call of the API")
    log_format: Literal["json", "off"] = setting("json", "access log, a line a request: json or off")

    max_body_bytes: Bytes = setting(8 * MIB, "largest body of POST /api/mnist, and largest image of a batch")
    max_batch_bytes: Bytes = setting(64 * MIB, "largest body of POST /api/mnist/batch")
    max_batch_images: Count = setting(256, "most images in one call of /api/mnist/batch")
    max_buffered_bytes: Bytes = setting(256 * MIB, "bytes of all bodies in memory; beyond it 503")
    max_connections: int = setting(8192, "most open connections, divided among the addresses; more wait", ge=1, le=MIB)
    keep_alive_seconds: Count = setting(75, "time for the next request's head; then the connection is closed")
    body_idle_seconds: float = setting(20, "a body of which nothing arrives for so long is refused", ge=0.1, le=3600)
    body_bytes_per_second: Positive = setting(4096, "least average rate of a body after BODY_IDLE_SECONDS")
    deadline_seconds: float = setting(10, "time for one answer, over queue and inference", ge=0.1, le=3600)
    drain_seconds: Seconds = setting(0, "on SIGTERM: time to go on serving while /readyz says 503")
    grace_seconds: Seconds = setting(20, "on SIGTERM: time for requests in flight to finish")

    batch_size: Count = setting(128, "most images in one batch to TorchServe; 1 sends each image by itself")
    batch_bytes: Bytes = setting(128 * 1024, "most bytes in one batch; a larger image is a batch of its own")
    queue_size: Positive = setting(3072, "most small images waiting, a third of it for others; beyond it 503")
    small_request_bytes: Amount = setting(2048, "a request of at most so many bytes is small, others large")
    small_in_flight: Count = setting(2, "most batches of small requests in flight")
    large_in_flight: Amount = setting(0, "most batches of large requests in flight; 0: one more than TS_WORKERS")
    isolated_pixels: Positive = setting(16_000_000, "an image of more pixels makes a batch by itself")
    isolated_in_flight: Count = setting(1, "most batches of isolated images in flight")

    ts_host: str = setting("127.0.0.1", "where TorchServe listens")
    ts_inference_port: Port = setting(8080, "its inference port")
    ts_small_model: str = setting("mnist_small", "name under which it takes batches of small requests")
    ts_large_model: str = setting("mnist_large", "name under which it takes all other batches")
    ts_key_file: Path = setting(Path("run/key_file.json"), "its token file; `python -m serve` sets it")

    # read by `python -m serve`, which starts TorchServe beside the proxy
    ts_management_port: Port = setting(8081, "TorchServe's management port")
    ts_metrics_port: Port = setting(8082, "TorchServe's metrics port")
    ts_workers: Count = setting(WORKERS, "its workers for large requests; default: one a usable CPU, 2 to 8")
    run_dir: Path = setting(Path("run"), "logs and tokens go to a folder in it that is named after PORT")
    model_store: Path = setting(Path("model_store"), "folder of mnist.mar and mnist.mar.sha256")

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
    given = {name: environment[name.upper()] for name in Settings.model_fields if name.upper() in environment}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        value = "…" if name == "api_keys" else repr(given[name])
        raise BadSetting(f"{name.upper()}={value}: {first['msg'].removeprefix('Value error, ')}") from error


def table() -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, in order."""
    rows = [(name.upper(), field.default, field.description or "") for name, field in Settings.model_fields.items()]
    return [(name, ",".join(value) if isinstance(value, tuple) else str(value), about) for name, value, about in rows]
