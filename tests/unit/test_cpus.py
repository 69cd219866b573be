"""What a process may use decides: quotas of both versions of control groups, and the affinity mask."""

import os
import subprocess
import sys

import pytest

from proxy.settings import Settings
from serve.cpus import usable_cpus
from tests.stack import ROOT

HERE = len(os.sched_getaffinity(0))


def machine(root, membership, **files):
    """A root folder whose process is in the control groups of `membership`; `files` by path below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for path, text in files.items():
        (root / "sys/fs/cgroup" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / path).write_text(text)
    return root


V1 = {"cpu/docker/1/cpu.cfs_quota_us": "100000\n", "cpu/docker/1/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, HERE),
        ("0::/pods/one\n", {"pods/cpu.max": "100000 100000\n", "pods/one/cpu.max": "max 100000\n"}, 1),
        ("0::/made/by/docker\n", {"cpu.max": "100000 100000\n"}, 1),  # seen from inside, without a namespace
        ("4:cpu,cpuacct:/docker/1\n0::/\n", V1, 1),
        ("4:cpu:/docker/1\n", {path.replace("docker/1/", ""): text for path, text in V1.items()}, 1),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, HERE),
        ("4:cpuset:/docker/1\n", V1, HERE),
        ("0::/\n", {}, HERE),
    ],
)
def test_quotas_of_control_groups(tmp_path, membership, files, cpus):
    assert usable_cpus(machine(tmp_path, membership, **files)) == min(cpus, HERE)


def test_without_control_groups_affinity_decides(tmp_path):
    assert usable_cpus(tmp_path) == HERE


def test_a_process_bound_to_one_cpu():
    code = "import os, serve.cpus as c; os.sched_setaffinity(0, [*os.sched_getaffinity(0)][:1]); print(c.usable_cpus())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_workers_follow():
    assert Settings().ts_workers == min(8, max(2, usable_cpus()))
