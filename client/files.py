"""The words of the command line -> images: files as named, what folders hold, what globs match, standard input."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class Image:
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


def find(words: Iterable[str]) -> Iterator[Image]:
    """The images that these words name, each once, in order; a file that is missing fails when it is read."""
    seen = set()
    for word in words:
        for image in _named(word):
            if image.name not in seen:
                seen.add(image.name)
                yield image


def _named(word: str) -> Iterator[Image]:
    path = Path(word)
    if word == "-":
        yield Image("-", None)
    elif os.path.isdir(word):
        yield from (Image(str(file), file) for file in _images_in(path))
    elif os.path.exists(word) or not has_magic(word):
        yield Image(word, path)
    else:
        for match in sorted(glob(word, recursive=True)):
            yield from _named(match)


def _images_in(folder: Path) -> list[Path]:
    """A folder that cannot be listed stands for its images: reading it fails and says so."""
    found, unlisted = list[Path](), list[OSError]()
    for parent, _, names in os.walk(folder, onerror=unlisted.append):
        files = (Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES)
        found += (file for file in files if os.path.isfile(file) or not os.path.exists(file))  # no pipes
    return sorted(found + [Path(error.filename) for error in unlisted])
