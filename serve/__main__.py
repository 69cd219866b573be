"""`python -m serve`: starts TorchServe and the proxy, watches them, stops them in the right order.

    checks -> both start -> a real inference worked: ready -> watch, restart -> SIGTERM -> proxy drains -> TorchServe ends
"""

import http.client
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from proxy.settings import BadSetting, from_environment
from serve import torchserve
from serve.checks import check
from serve.child import Child
from serve.settings import Settings, StartError

START_SECONDS = 120
STALL_SECONDS = 60  # not ready for so long after it was: what hangs is ended, and started again like what died
TICK_SECONDS = 0.05


class Supervisor:
    """Keeps TorchServe and the proxy running until `stopping` is set."""

    def __init__(self, settings: Settings, temp: Path) -> None:
        self.settings, self.stopping = settings, False
        self.home = settings.run_dir.absolute() / str(settings.port)
        self.logs, self.keys = self.home / "logs", self.home / "key_file.json"
        shutil.rmtree(self.home / "logs.before", ignore_errors=True)
        if self.logs.exists():
            self.logs.rename(self.home / "logs.before")
        self.logs.mkdir(parents=True)
        self.keys.unlink(missing_ok=True)
        config = temp / "config.properties"
        config.write_text(torchserve.derived_config(settings))
        command = torchserve.command(config, settings.model_store.absolute(), temp)
        with (self.logs / "jvm.log").open("wb") as log:
            self.torchserve = Child("TorchServe", command, self.home, torchserve.environment(self.logs, temp), log)
        proxy_environment = os.environ | {"TS_KEY_FILE": str(self.keys)}
        self.proxy = Child("the proxy", [sys.executable, "-m", "proxy"], ROOT, proxy_environment, None)

    def run(self) -> None:
        """Start, watch, and stop in the right order; StartError when it never became ready."""
