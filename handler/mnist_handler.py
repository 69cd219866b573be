"""MnistHandler: TorchServe's rows -> images -> pictures -> logits -> a JSON body for each image -> a reply for each row.

What is wrong with one picture becomes that picture's answer: an exception raised here would fail the whole batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
