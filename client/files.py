"""The words of the command line -> pictures: files as named, what folders hold, what globs match, standard input."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to send. `path` is None for standard input."""

    name: str
    path: Path | None

    def bytes(self) -> bytes:
        """Its bytes. Raises OSError."""
        if self.path:
            return self.path.read_bytes()
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        return sys.stdin.buffer.read()


def find(words: Iterable[str]) -> Iterator[Picture]:
    """The pictures that these words name, each once, in order; a file that is missing fails when it is read."""
    seen = set()
    for word in words:
        for picture in _named(word):
            if picture.name not in seen:
                seen.add(picture.name)
                yield picture


def _named(word: str) -> Iterator[Picture]:
    path = Path(word)
    if word == "-":
        yield Picture("-", None)
    elif os.path.isdir(word):
        yield from (Picture(str(file), file) for file in _pictures_in(path))
    elif os.path.exists(word) or not has_magic(word):
        yield Picture(word, path)
    else:
        for match in sorted(glob(word, recursive=True)):
            yield from _named(match)


def _pictures_in(folder: Path) -> list[Path]:
    """A folder that cannot be listed stands for its pictures: reading it fails and says so."""
    found, unlisted = list[Path](), list[OSError]()
    for parent, _, names in os.walk(folder, onerror=unlisted.append):
        files = (Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES)
        found += (file for file in files if os.path.isfile(file) or not os.path.exists(file))  # no pipes
    return sorted(found + [Path(error.filename) for error in unlisted])
