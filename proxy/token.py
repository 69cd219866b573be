"""TorchServe's inference token, from the key file that each start of TorchServe and each rotation writes anew."""

import json
import logging
from pathlib import Path

log = logging.getLogger(__name__)


class Token:
    """The token as a request header.

    Attributes:
        header: what to send; empty before TorchServe's first start, or where its token authorization is off.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        self.read()

    def read(self) -> None:
        """Read the key file again."""
        self.header: dict[str, str] = {}
        try:
            self.header = {"Authorization": f"Bearer {json.loads(self._key_file.read_text())['inference']['key']}"}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:  # being written at this moment, say
            log.warning("cannot read TorchServe's key file: %s", type(error).__name__)
