"""`python -m serve`: what keeps it from starting is told in one line; what it starts, it also ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from tests.stack import PORTS, Stack, free_ports, running, wait_until
from train.own_model import ROOT, WEIGHTS
from train.pack import pack

SEVEN = (ROOT / "samples/7.png").read_bytes()


@pytest.fixture
def settings(model_store, tmp_path) -> dict[str, str]:
    """Environment variables with which a start succeeds."""
    ports = {name: str(port) for name, port in zip(PORTS, free_ports(4), strict=True)}
    return ports | {"MODEL_STORE": str(model_store), "RUN_DIR": str(tmp_path / "run"), "TMPDIR": str(tmp_path)}


def failed_start(settings: dict[str, str], root: Path = ROOT) -> str:
    """The one line that a start which must fail says."""
    command = [sys.executable, "-m", "serve"]
    done = subprocess.run(command, cwd=root, env=os.environ | settings, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "ready" not in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("name", PORTS)
def test_a_taken_port_is_named(settings, name):
    with socket.create_server(("127.0.0.1", int(settings[name]))):
        assert f"{name}: cannot listen on 127.0.0.1:{settings[name]}" in failed_start(settings)


def test_two_settings_with_the_same_port(settings):
    settings["TS_METRICS_PORT"] = settings["PORT"]
    assert "TS_METRICS_PORT: cannot listen" in failed_start(settings)


@pytest.mark.parametrize("value", ["eighty", "0", "70000", ""])
def test_a_port_that_is_none(settings, value):
    assert f"TS_METRICS_PORT={value!r}" in failed_start(settings | {"TS_METRICS_PORT": value})


def test_an_address_that_is_not_ours(settings):
    assert "HOST='192.0.2.1': not an address of this machine" in failed_start(settings | {"HOST": "192.0.2.1"})


def test_no_archive(settings, tmp_path):
    assert "make mar" in failed_start(settings | {"MODEL_STORE": str(tmp_path / "none")})


def test_a_broken_archive(settings, tmp_path):
    store = shutil.copytree(settings["MODEL_STORE"], tmp_path / "store")
    with (store / "mnist.mar").open("ab") as archive:
        archive.write(b"!")
    assert "mnist.mar is broken" in failed_start(settings | {"MODEL_STORE": str(store)})


def test_a_missing_python_module(settings, tmp_path):
    root = checkout(tmp_path)
    requirements = (root / "requirements.txt").read_text()
    (root / "requirements.txt").write_text(requirements.replace("# serving\n", "# serving\nnot-installed-here==1.0\n"))
    assert "Python module missing: not-installed-here" in failed_start(settings, root)


def test_no_java(settings):
    assert "no Java at /nowhere/bin/java" in failed_start(settings | {"JAVA_HOME": "/nowhere"})


def test_a_jvm_that_does_not_start(settings, tmp_path):
    root = checkout(tmp_path)
    config = (root / "config.properties").read_text()
    (root / "config.properties").write_text(config.replace(" -XX:+UseSerialGC", " -Xmx2m"))
    line = failed_start(settings, root)
    assert "TorchServe ended with exit code 1: " in line
    assert "Initial heap size set to a larger value than the maximum heap size" in line


def test_a_run_dir_that_cannot_be_written(settings):
    assert "/proc/run" in failed_start(settings | {"RUN_DIR": "/proc/run"})


@pytest.mark.parametrize("fault", ["import module_that_is_missing", "raise ValueError('no good handler')"])
def test_a_worker_that_cannot_start(settings, tmp_path, fault):
    handler = shutil.copytree(ROOT / "handler", tmp_path / "handler")
    with (handler / "mnist_handler.py").open("a") as file:
        file.write(f"\n{fault}\n")
    pack(WEIGHTS, handler, tmp_path / "store")
    line = failed_start(settings | {"MODEL_STORE": str(tmp_path / "store")})
    assert "module_that_is_missing" in line or "no good handler" in line
    assert not list(tmp_path.glob("mnist-*")), "temporary files"


def checkout(folder: Path) -> Path:
    """What a start needs, copied to where it can be changed."""
    root = folder / "checkout"
    for name in ("serve", "proxy", "train"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("config.properties", "requirements.txt"):
        shutil.copy(ROOT / name, root)
    return root


@pytest.fixture
def own(model_store, tmp_path):
    """A service to do things to; its temporary files are in tmp_path/tmp."""
    (tmp_path / "tmp").mkdir()
    with running(tmp_path, MODEL_STORE=str(model_store), TMPDIR=str(tmp_path / "tmp")) as stack:
        yield stack


def label(stack: Stack) -> int:
    """What it says to a seven."""
    answer = requests.post(f"http://127.0.0.1:{stack.port}/api/mnist", files={"image": SEVEN}, timeout=15)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]["prediction"]["label"]


def all_gone(processes: list[psutil.Process]) -> bool:
    return not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_a_signal_ends_everything(own, tmp_path):
    before = untracked()
    everybody = own.processes
    assert len(everybody) >= 6, "supervisor, proxy, JVM and three workers"
    wait_until(own.output.read_text, 5, "a line of the supervisor's")
    assert own.output.read_text().count("\n") == 1, "one line: ready, and what to try"
    assert "curl -X POST -F image=@samples/7.png" in own.output.read_text()
    own.supervisor.terminate()
    assert own.supervisor.wait(60) == 0
    wait_until(lambda: all_gone(everybody), 5, "an end of all processes")
    assert not list((tmp_path / "tmp").iterdir())
    assert sorted(path.name for path in own.run.rglob("*")) == sorted(
        [str(own.port), f"{own.port}.lock", "logs", *LOGS]
    )
    assert untracked() == before


LOGS = ("jvm.log", "torchserve.log", "worker.log")


def untracked() -> str:
    """Files of the checkout that git does not know, ignored ones too, but for compiled Python."""
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--ignored", "-uall"], cwd=ROOT, capture_output=True, text=True
    )
    return "\n".join(line for line in listed.stdout.splitlines() if "cache" not in line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_starting_ends_everything(settings, tmp_path, number):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests that run under nohup ignore it, and so would a child
    supervisor = psutil.Popen([sys.executable, "-m", "serve"], cwd=ROOT, env=os.environ | settings)
    signal.signal(signal.SIGHUP, before)
    everybody = [supervisor, *wait_until(lambda: len(supervisor.children()) == 2 and supervisor.children(), 60, "both")]
    supervisor.send_signal(number)
    assert supervisor.wait(60) == 0
    wait_until(lambda: all_gone(everybody), 5, "an end of all processes")
    assert not list(tmp_path.glob("mnist-*"))


def test_whoever_is_killed_is_replaced_but_for_the_supervisor(own):
    jvm, workers, proxy = own.java, own.workers(), own.proxy
    jvm.kill()
    wait_until(lambda: all_gone([jvm, *workers]), 10, "an end of the old workers")
    wait_until(lambda: not own.ready, 10, "/readyz to notice")
    own.wait_ready()
    assert label(own) == 7
    assert "TorchServe ended with signal 9; starting it again" in own.output.read_text()

    proxy.kill()
    wait_until(lambda: (now := own.proxy) and now.pid != proxy.pid and own.ready, 60, "another proxy")
    assert label(own) == 7
    assert "proxy ended with signal 9; starting it again" in own.output.read_text()

    everybody = own.processes
    own.supervisor.kill()
    wait_until(lambda: all_gone(everybody), 60, "an end of all processes")


def test_two_copies_side_by_side_and_a_hostile_pythonpath(service, own_poisoned):
    assert label(service) == label(own_poisoned) == 7
    assert {each.pid for each in service.processes}.isdisjoint(each.pid for each in own_poisoned.processes)


@pytest.fixture
def own_poisoned(model_store, tmp_path):
    """A start with a PYTHONPATH whose modules would break a worker that imported them instead of the archive's."""
    (tmp_path / "digit.py").write_text("raise RuntimeError('not from the archive')\n")
    with running(tmp_path, MODEL_STORE=str(model_store), PYTHONPATH=str(tmp_path)) as stack:
        yield stack


def test_workers_come_from_the_archive(service):
    for worker in service.workers() + service.workers("mnist_bulk"):
        folders = worker.environ()["PYTHONPATH"].split(os.pathsep)
        assert Path(worker.cwd(), "mnist_handler.py").is_file()
        assert [Path(folder) for folder in folders if folder] == [Path(worker.cwd())]
        assert not Path(worker.cwd()).is_relative_to(ROOT)


def test_no_worker_loads_torch_to_answer_on_a_cpu(service):
    for worker in service.workers() + service.workers("mnist_bulk"):
        assert not [library.path for library in worker.memory_maps() if "libtorch" in library.path]


def test_only_the_proxy_can_be_reached_from_outside(service):
    listening = {c.laddr for each in service.processes for c in each.net_connections() if c.status == "LISTEN"}
    assert set(service.ports.values()) <= {address.port for address in listening}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def visit(clone: Path, environment: dict[str, str], output: Path) -> list[str]:
    """`make serve`, what it says to try, SIGTERM; the lines that it said."""
    with output.open("wb") as file:
        running = psutil.Popen(["make", "serve"], cwd=clone, env=environment, stdout=file, stderr=file)
    wait_until(lambda: b"ready" in output.read_bytes() or running.poll() is not None, 120, "a ready service")
    everybody = [running, *running.children(recursive=True)]
    lines = output.read_text().splitlines()
    curl = lines[-1].partition("try: ")[2]
    answer = subprocess.run(["sh", "-c", curl], cwd=clone, capture_output=True, text=True, timeout=30).stdout
    assert '"prediction": {"class_name": "seven"' in answer
    running.terminate()
    running.wait(60)
    wait_until(lambda: all_gone(everybody), 5, "an end of all processes")
    return lines


def own_environment(clone: Path) -> None:
    """A virtual environment in the clone, whose files are those of this one."""
    (clone / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name in ("pyvenv.cfg", ".client"):
            shutil.copy(entry, clone / ".venv")
        elif entry.name != "torchserve.aot":
            (clone / ".venv" / entry.name).symlink_to(entry)
    os.utime(clone / "requirements.txt", (0, 0))  # older than what is installed


def test_make_serve_twice_and_make_clean_in_a_clone(settings, tmp_path):
    """The commands of a first visit, in a folder of any name; only the packages are those of this environment."""
    clone = tmp_path / "Übung with spaces"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    own_environment(clone)
    environment = os.environ | settings | {"LANG": "C", "LC_ALL": "C"}
    # MAKELEVEL comes from a `make test` around this test and would have the inner make name its folder
    for name in ("LC_CTYPE", "RUN_DIR", "MODEL_STORE", "MAKELEVEL", "MAKEFLAGS"):
        environment.pop(name, None)
    first = visit(clone, environment, tmp_path / "first")
    assert "model_store/mnist.mar: version 1.0" in first[-2]
    assert (clone / ".venv/torchserve.aot").stat().st_size > 1_000_000, "the JVM's classes were not recorded"
    assert len(visit(clone, environment, tmp_path / "second")) == 1, "nothing is set up twice"
    subprocess.run(["make", "clean"], cwd=clone, check=True)
    left = ["git", "status", "--porcelain", "--ignored"]
    assert subprocess.run(left, cwd=clone, capture_output=True, text=True).stdout == ""
    assert not (clone / ".venv").exists()
    assert (ROOT / ".venv").exists()
