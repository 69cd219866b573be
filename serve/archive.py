"""The archive as a file: the same inputs give the same bytes; its checksum lies beside it; it knows its version.

Needs the standard library alone, since whoever serves an archive checks it with this too.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

MANIFEST = "MAR-INF/MANIFEST.json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can carry


class BrokenArchive(Exception):
    """There is no archive, or it is not the one that was packed."""


def rewrite(raw: Path, finished: Path) -> None:
    """Copy an archive without what differs from run to run: order, times, modes, the day of packing.

    Entries are stored, not deflated: the bytes do not depend on the machine's zlib, and weights barely shrink.
    """
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(finished, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            data = source.read(name)
            if name == MANIFEST:
                data = json.dumps(json.loads(data) | {"createdOn": "01/01/1980 00:00:00"}, indent=2).encode()
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, data)


def checksum_file(archive: Path) -> Path:
    """Where the sha256 of `archive` is recorded, in the format of sha256sum."""
    return archive.with_name(f"{archive.name}.sha256")


def checksum(archive: Path) -> str:
    """The sha256 of `archive`, 64 hexadecimal digits."""
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def verified_version(archive: Path) -> str:
    """The model's version in `archive`. Raises BrokenArchive unless its sha256 is the recorded one."""
    try:
        if checksum_file(archive).read_text().split()[:1] != [checksum(archive)]:
            raise BrokenArchive(f"{archive} is broken: its sha256 is not the one recorded at packing; run `make mar`")
        with zipfile.ZipFile(archive) as packed:
            return str(json.loads(packed.read(MANIFEST))["model"]["modelVersion"])
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise BrokenArchive(f"no archive to serve ({error}); run `make mar`") from error


def copy(archive: Path, folder: Path) -> Path:
    """Copy `archive` and its checksum into `folder`, which is made; return the copy's path. Raises BrokenArchive."""
    verified_version(archive)
    folder.mkdir(parents=True)
    for file in (archive, checksum_file(archive)):
        shutil.copyfile(file, folder / file.name)
    return folder / archive.name
