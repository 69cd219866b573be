"""The TorchServe that trips go to, and its token: the configured one, or its standby while there is one.

`python -m serve.rollout` starts a standby, so that the configured TorchServe can change its model meanwhile, and tells
of it in a file beside the key file. What is under way stays where it is; only new trips go elsewhere.
"""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path

from proxy.settings import Settings

log = logging.getLogger(__name__)
STANDBY = "standby.json"  # {"port": of its inference API, "key_file": its path, "pid": who ends it and ends with it}


class Upstream:
    """Where to send trips, and with what token.

    Attributes:
        address: host and port of the inference API.
        header: the token; empty before TorchServe's first start, or where its token authorization is off.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self.address = settings, ("", 0)
        self.look()

    def look(self) -> None:
        """Follow the file; called now and then (proxy/watch.py)."""
        port, key_file = self._settings.ts_inference_port, self._settings.ts_key_file
        with suppress(OSError, ValueError, KeyError, TypeError):  # no file; or its author has ended without removing it
            told = json.loads(key_file.with_name(STANDBY).read_text())
            os.kill(told["pid"], 0)
            port, key_file = int(told["port"]), Path(told["key_file"])
        if port != self.address[1]:
            self.address, self._key_file = (self._settings.ts_host, port), key_file
            self.read_token()

    def read_token(self) -> None:
        """Read the key file, which each start of TorchServe and each rotation writes anew."""
        self.header: dict[str, str] = {}
        try:
            self.header = {"Authorization": f"Bearer {json.loads(self._key_file.read_text())['inference']['key']}"}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:  # being written at this moment, say
            log.warning("cannot read TorchServe's key file: %s", type(error).__name__)
