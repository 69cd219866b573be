"""The image's commands in the image's conditions: files read-only, one tmpfs to write to, a user without rights.

Without a container engine: bubblewrap makes the namespaces that an engine would make, from what the Dockerfile says.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.stack import PORTS, ROOT, free_ports, wait_until
from tests.unit.test_deploy import USER, containers, environment, ignored, image_environment, instructions

RUN = image_environment()["RUN_DIR"]
HOME = "/srv/mnist"

SANDBOX = ["bwrap", "--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"]
possible = bool(shutil.which("bwrap")) and subprocess.run([*SANDBOX, "true"], capture_output=True).returncode == 0
pytestmark = pytest.mark.skipif(not possible, reason="bubblewrap is missing or may not make namespaces here")


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> Path:
    """What `COPY . .` and the build leave in the image: the files that .dockerignore lets pass, the archive, .venv."""
    folder = tmp_path_factory.mktemp("image")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
    for name in listed.stdout.decode().splitlines():
        if not ignored(name) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    subprocess.run([sys.executable, "-m", "train", "pack"], cwd=folder, check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    folder.chmod(0o755)
    return folder


class Container:
    """A command in the image, with ports of its own and `volume` (a tmpfs where there is none) to write to."""

    def __init__(self, image: Path, command: list[str], settings: dict[str, str], volume: Path | None = None) -> None:
        variables = image_environment() | settings
        variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
        writable = ["--bind", str(volume), RUN] if volume else ["--tmpfs", RUN]
        self.process = subprocess.Popen(
            [*SANDBOX, "--tmpfs", "/srv", "--ro-bind", image, HOME, "--remount-ro", "/srv",
             "--tmpfs", "/run", "--dir", RUN, *writable, "--remount-ro", "/run", "--dev", "/dev", "--proc", "/proc",
             "--uid", str(USER), "--gid", "0",
             "--chdir", HOME, "--die-with-parent", "--as-pid-1", "--clearenv",
             *(word for name, value in variables.items() for word in ("--setenv", name, value)), *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def signal(self, number: int) -> None:
        """Send a signal to the command itself, as an engine does, not to bubblewrap around it."""
        os.kill(inner(self.process), number)


def inner(process: subprocess.Popen) -> int:
    """The process that bubblewrap has started, the first of its PID namespace."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@pytest.fixture
def ports() -> dict[str, str]:
    return dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))


@pytest.fixture
def run(image, tmp_path) -> Iterator:
    started = []

    def start(command: list[str], settings: dict[str, str], volume: Path | None = None) -> Container:
        started.append(Container(image, command, settings, volume))
        return started[-1]

    yield start
    for container in started:
        container.process.kill()  # with it goes its PID namespace
        container.process.wait()


def healthy(port: str) -> bool:
    """What the image's HEALTHCHECK says, also where the environment names a proxy that answers nobody."""
    command = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    check = [sys.executable, *command[1:]]
    variables = os.environ | {"PORT": port, "http_proxy": "http://127.0.0.1:1", "no_proxy": ""}
    return subprocess.run(check, cwd=ROOT, env=variables, stderr=subprocess.DEVNULL).returncode == 0


def predicted(port: str) -> str:
    picture = (ROOT / "samples/7.png").read_bytes()
    answer = requests.post(f"http://127.0.0.1:{port}/api/mnist", files={"image": picture}, timeout=30)
    return answer.json()["predictions"]["prediction"]["class_name"]


def test_the_image_serves_and_stops(run, ports):
    container = run(json.loads(instructions("CMD")[-1]), ports)
    assert not healthy(ports["PORT"])
    wait_until(lambda: healthy(ports["PORT"]), 120, "healthy")
    assert predicted(ports["PORT"]) == "seven"
    container.signal(signal.SIGTERM)
    assert container.process.wait(60) == 0


def seen_by_all(folder: Path) -> list[str]:
    """For bubblewrap: what is below /root, where only root can go, may be read by others."""
    if not folder.is_relative_to("/root"):
        return []
    above = [str(parent) for parent in folder.parents if parent.is_relative_to("/root") and parent != Path("/root")]
    parents = [word for parent in reversed(above) for word in ("--perms", "755", "--dir", parent)]
    return [*parents, "--ro-bind", str(folder), str(folder)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_any_user_of_group_0_can_run_it(image, ports):
    """As OpenShift does it: a user id that the image does not know, in a folder as the Dockerfile makes it."""
    [line] = [line for line in instructions("RUN") if "install -d" in line]
    prepare = line[line.index("install -d") :]
    server = "exec setpriv --reuid 1000650000 --regid 0 --clear-groups python -m serve"
    variables = image_environment() | ports
    variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
    python = [word for place in (sys.base_prefix, sys.prefix) for word in seen_by_all(Path(place))]
    sandbox = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/root", *python, "--tmpfs", "/srv",
               "--ro-bind", image, HOME, "--tmpfs", "/run", "--unshare-pid", "--die-with-parent",
               "--as-pid-1", "--clearenv", "--chdir", HOME,
               *(word for name, value in variables.items() for word in ("--setenv", name, value))]  # fmt: skip
    with subprocess.Popen([*sandbox, "sh", "-c", f"{prepare} && {server}"]) as container:
        try:
            wait_until(lambda: healthy(ports["PORT"]) or container.poll() is not None, 120, "healthy")
            assert predicted(ports["PORT"]) == "seven"
        finally:  # another user's process no longer ends with its parent by itself
            if container.poll() is None:
                os.kill(inner(container), signal.SIGTERM)
        assert container.wait(60) == 0


def test_files_of_the_image_cannot_be_written(run):
    for place in (HOME, f"{HOME}/model_store", "/usr", "/run"):
        container = run(["sh", "-c", f"touch {place}/mark"], {})
        output = container.process.communicate(timeout=20)[0]
        assert container.process.returncode != 0
        assert b"Read-only file system" in output
    assert run(["sh", "-c", f"touch {RUN}/mark"], {}).process.wait(20) == 0


def test_the_pods_two_containers_serve_and_drain(run, ports, tmp_path):
    """The manifest's commands and settings, except for the ports; the token travels through the shared volume."""
    kept = dict(ports, TS_KEY_FILE=f"{RUN}/{ports['PORT']}/key_file.json", GRACE_SECONDS="20", DRAIN_SECONDS="1")
    settings = environment(containers()["proxy"]) | kept
    proxy = run(containers()["proxy"]["command"], settings, tmp_path)
    torchserve = run(containers()["torchserve"]["command"], settings, tmp_path)
    wait_until(lambda: healthy(ports["PORT"]), 120, "healthy")
    assert predicted(ports["PORT"]) == "seven"
    assert (tmp_path / ports["PORT"] / "key_file.json").stat().st_mode & 0o777 == 0o600
    # The kubelet's order for a sidecar: the proxy first; TorchServe only once it is gone.
    proxy.signal(signal.SIGTERM)
    assert predicted(ports["PORT"]) == "seven"  # DRAIN_SECONDS: still serving
    assert not healthy(ports["PORT"])
    output, _ = proxy.process.communicate(timeout=30)
    assert proxy.process.returncode == 0, output.decode()
    assert torchserve.process.poll() is None
    torchserve.signal(signal.SIGTERM)
    log, _ = torchserve.process.communicate(timeout=30)
    assert b"mnist" in log  # what its workers print: `kubectl logs` shows it
    assert not (tmp_path / ports["PORT"] / "logs/worker.log").read_bytes()


def test_torchserve_comes_back_where_the_kubelet_starts_it_again(run, ports, tmp_path):
    """With new tokens: the proxy reads them."""
    kept = dict(ports, TS_KEY_FILE=f"{RUN}/{ports['PORT']}/key_file.json")
    settings = environment(containers()["proxy"]) | kept
    run(containers()["proxy"]["command"], settings, tmp_path)
    first = run(containers()["torchserve"]["command"], settings, tmp_path)
    wait_until(lambda: healthy(ports["PORT"]), 120, "healthy")
    first.signal(signal.SIGKILL)
    first.process.wait(30)
    wait_until(lambda: not healthy(ports["PORT"]), 30, "unhealthy without TorchServe")
    run(containers()["torchserve"]["command"], settings, tmp_path)
    wait_until(lambda: healthy(ports["PORT"]), 120, "healthy again")
    assert predicted(ports["PORT"]) == "seven"


def test_a_broken_archive_is_reported_in_one_line(run, ports, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/mnist.mar").write_bytes(b"not an archive")
    settings = ports | {"MODEL_STORE": f"{RUN}/store"}
    container = run(containers()["torchserve"]["command"], settings, tmp_path)
    output = container.process.communicate(timeout=60)[0].decode()
    assert container.process.returncode == 1
    assert output.startswith("error: ")
    assert output.count("\n") == 1


def test_procfile_serves_on_the_port_that_it_is_given(image, ports, tmp_path):
    """As platforms run it: through a shell, in a checkout that can be written to, PORT in the environment."""
    _, _, web = (ROOT / "Procfile").read_text().partition("web: ")
    shutil.copytree(image, tmp_path / "app", symlinks=True)
    path = f"{tmp_path}/app/.venv/bin:{os.environ['PATH']}"
    with subprocess.Popen(["sh", "-c", web], cwd=tmp_path / "app", env=os.environ | ports | {"PATH": path}) as process:
        try:
            wait_until(lambda: healthy(ports["PORT"]), 120, "healthy")
            with open("/proc/net/tcp") as table:
                assert f" 00000000:{int(ports['PORT']):04X} " in table.read()  # on every interface
        finally:
            process.terminate()
        assert process.wait(60) == 0
