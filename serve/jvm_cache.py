"""`python -m serve.jvm_cache`: record the classes that TorchServe's JVM loads; later JVMs start in half the time.

They are recorded from a start that ends by itself, for lack of an address: 192.0.2.1 belongs to nobody (RFC 5737).
Before Java 25 the file stays empty, and does no harm.
"""

import subprocess
import tempfile
from pathlib import Path

from proxy.settings import Settings
from serve.checks import MissingError, check_installation
from serve.torchserve_command import CACHE, CONFIG, environment, jvm


def main() -> None:
    try:
        check_installation()
    except MissingError as error:
        raise SystemExit(f"error: {error}") from error
    print("recording what TorchServe's JVM loads (once; some seconds)", flush=True)
    with tempfile.TemporaryDirectory(prefix="mnist-") as name:
        record(Path(name))
    CACHE.touch()


def record(temp: Path) -> None:
    """Start TorchServe without a model and without an address, and wait for its end."""
    config = temp / "config.properties"
    lines = CONFIG.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("load_models=")))
    variables = environment(Settings(), temp, temp) | {"TS_INFERENCE_ADDRESS": "http://192.0.2.1:1"}
    command = jvm(config, temp, temp, f"-XX:AOTCacheOutput={CACHE}")
    with (temp / "log").open("wb") as log:
        subprocess.run(command, cwd=temp, env=variables, stdout=log, stderr=log, check=False)  # noqa: S603


if __name__ == "__main__":
    main()
