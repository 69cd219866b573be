"""How many CPUs this process may really use: its affinity mask and the CPU quota of its control groups (v1 and v2).

`os.cpu_count()` knows neither: in a container limited to one CPU it gives the number of CPUs of the whole machine.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may use, at least 1; a quota of one and a half counts as 2.

    Args:
        root: the folder that holds `proc` and `sys`.
    """
    quotas = [ceil(quota) for quota in _quotas(root)]
    return max(1, min([_affinity(), *quotas]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """The quota, in CPUs, of each control group that this process is in and that has one."""
    for folder in _groups(root):
        with suppress(OSError, ValueError, ZeroDivisionError):  # v2; "max" is no limit
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError, ZeroDivisionError):  # v1; -1 is no limit
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:
                yield int(quota) / int(period)


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the control groups of this process and of those above it.

    /proc/self/cgroup names a group by its path on the machine. In a container the mount often begins at the container's
    own group; the folders above the path that do exist include it.
    """
    mounts = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = Path(path.lstrip("/"))
        for mount in [mounts / controllers, mounts / "cpu"] if controllers else [mounts, mounts / "unified"]:
            yield from (mount / part for part in (group, *group.parents))
