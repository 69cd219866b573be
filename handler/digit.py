"""What the model classifies: its classes, the size of its picture and the normalization of its pixels.

All of it is written in one file, model.json (docs/own-model.md says what its keys mean). Training and packing read it
from here. It is part of the archive, so the worker has it, and the proxy gets it from the worker.
"""

import json
import sys
from pathlib import Path

# The first model.json on Python's path: in the archive there is one, and in training the folder of another model
# precedes handler/, as it does for modules of the same name.
MODEL_FILE = next(file for folder in sys.path if (file := Path(folder, "model.json")).is_file())
MODEL = json.loads(MODEL_FILE.read_text(encoding="utf-8"))

CLASS_NAMES: tuple[str, ...] = tuple(MODEL["class_names"])
SYMBOLS: tuple[str, ...] = tuple(MODEL.get("symbols", CLASS_NAMES))  # short names
SIDE: int = MODEL["side"]  # pixels; a picture is SIDE x SIDE, uint8

# Mean and standard deviation of the training pictures, of pixels scaled to [0, 1].
MEAN: float = MODEL["mean"]
STD: float = MODEL["std"]
