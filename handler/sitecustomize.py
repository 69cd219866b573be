"""Python runs this file as each worker starts, the archive's folder being on its path: torch is loaded on first use.

TorchServe's worker imports torch for the sake of one isinstance, which a reply of bytes never reaches. Where the net
runs on ONNX Runtime that would be 190 MB and 1.6 s a worker for nothing.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any


class Lazily(MetaPathFinder):
    """Finds torch, once, as a module that is executed when something of it is asked for."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


sys.meta_path.insert(0, Lazily())
