"""What deploys the service: each file is valid by its own standard, agrees with the others, and with the code."""

import ast
import configparser
import copy
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import compose_spec
import kubernetes_validate
import pytest
import yaml

from proxy.metrics import Metrics
from proxy.settings import from_environment, table
from serve.install import Section, pins

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy/kubernetes/base"
EXAMPLE = ROOT / "deploy/kubernetes/overlays/example"
USER = 10001


def documents(folder: Path) -> list[dict[str, Any]]:
    """Every resource that the folder's kustomization names, resources of the folders it builds on left out."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    files = [folder / name for name in names if (folder / name).is_file()]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def resource(kind: str) -> dict[str, Any]:
    return next(document for document in documents(BASE) if document["kind"] == kind)


def pod() -> dict[str, Any]:
    return resource("Deployment")["spec"]["template"]["spec"]


def containers() -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in pod()["initContainers"] + pod()["containers"]}


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


# --- Kubernetes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.34.0", "1.37.0"])
@pytest.mark.parametrize("folder", [BASE, EXAMPLE], ids=lambda folder: folder.name)
def test_resources_are_valid_by_the_official_schemas(folder, version):
    for document in documents(folder):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_refuse_a_misspelt_field():
    deployment = copy.deepcopy(resource("Deployment"))
    deployment["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37.0", strict=True)


def test_every_manifest_is_part_of_its_kustomization():
    for folder in (BASE, EXAMPLE):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        named = {*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", ()))}
        assert {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"} <= named
        assert all((folder / name).exists() for name in named)


def test_patches_of_the_example_meet_what_they_patch():
    for patch in yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text())["patches"]:
        change = yaml.safe_load((EXAMPLE / patch["path"]).read_text())
        target = resource(change["kind"])
        assert change["metadata"]["name"] == target["metadata"]["name"]
        for container in change["spec"].get("template", {}).get("spec", {}).get("containers", ()):
            assert container["name"] in [each["name"] for each in pod()["containers"]]


@pytest.mark.skipif(not shutil.which("kustomize"), reason="kustomize is not installed")
@pytest.mark.parametrize("folder", [BASE, EXAMPLE], ids=lambda folder: folder.name)
def test_kustomize_builds_valid_resources(folder):
    built = subprocess.run(["kustomize", "build", folder], check=True, capture_output=True, text=True).stdout
    for document in yaml.safe_load_all(built):
        kubernetes_validate.validate(document, "1.37.0", strict=True)


def test_selectors_find_the_pods():
    labels = resource("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert resource("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert resource("Service")["spec"]["selector"] == labels
    assert resource("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert pod()["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == labels


def test_containers_are_locked_down():
    """What the Pod Security Standard `restricted` asks for, and a read-only root filesystem."""
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(pod()["securityContext"]), "OpenShift assigns its own"
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False
    for container in containers().values():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_torchserve_outlives_the_proxy():
    """A sidecar is told to end after the ordinary containers, so TorchServe answers what the proxy still drains."""
    assert set(containers()) == {"proxy", "torchserve"}
    assert containers()["torchserve"]["restartPolicy"] == "Always"
    assert [container["name"] for container in pod()["containers"]] == ["proxy"]


def test_time_to_end_is_enough_for_the_proxy_to_drain():
    settings = from_environment(environment(containers()["proxy"]))
    readiness = containers()["proxy"]["readinessProbe"]
    assert settings.drain_seconds > readiness["periodSeconds"] * readiness["failureThreshold"]
    assert pod()["terminationGracePeriodSeconds"] >= settings.drain_seconds + settings.grace_seconds + 10


def test_containers_share_settings_and_the_token_file():
    proxy, torchserve = containers()["proxy"], containers()["torchserve"]
    assert environment(proxy) == environment(torchserve)
    settings = from_environment(environment(proxy))
    assert settings.ts_key_file == settings.run_dir / str(settings.port) / "key_file.json"
    for container in (proxy, torchserve):
        assert container["volumeMounts"] == [{"name": "run", "mountPath": str(settings.run_dir)}]
    assert pod()["volumes"][0]["name"] == "run"
    assert "emptyDir" in pod()["volumes"][0]


def test_settings_in_manifests_exist():
    known = {name for name, _, _ in table()}
    [example] = yaml.safe_load((EXAMPLE / "deployment.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    assert {variable["name"] for variable in example["env"]} <= known
    for container in containers().values():
        assert set(environment(container)) <= known


def test_probes_ask_what_the_proxy_answers():
    port = int(environment(containers()["proxy"])["PORT"])
    assert containers()["proxy"]["ports"] == [{"name": "http", "containerPort": port}]
    paths = {
        (container["name"], kind): container[kind]["httpGet"]
        for container in containers().values()
        for kind in ("startupProbe", "livenessProbe", "readinessProbe")
        if kind in container
    }
    assert paths == {
        ("proxy", "startupProbe"): {"path": "/livez", "port": "http"},
        ("proxy", "livenessProbe"): {"path": "/livez", "port": "http"},
        ("proxy", "readinessProbe"): {"path": "/readyz", "port": "http"},
        ("torchserve", "livenessProbe"): {"path": "/readyz", "port": port},  # through the proxy
    }


def test_only_the_proxy_can_be_reached():
    port = int(environment(containers()["proxy"])["PORT"])
    policy = resource("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": port}]}]
    assert policy["egress"] == []
    assert [each["targetPort"] for each in resource("Service")["spec"]["ports"]] == ["http"]
    assert "ports" not in containers()["torchserve"]
    addresses = re.findall(r"^\w+_address=http://([\d.]+):", (ROOT / "config.properties").read_text(), re.MULTILINE)
    assert addresses == ["127.0.0.1"] * 3


def test_autoscaler_can_compute_its_metric():
    """Utilization is a share of the requests: a container without one makes the autoscaler give up."""
    scaler, deployment = resource("HorizontalPodAutoscaler")["spec"], resource("Deployment")
    target = {"apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert scaler["scaleTargetRef"] == target
    assert [metric["resource"]["name"] for metric in scaler["metrics"] if metric["type"] == "Resource"] == ["cpu"]
    assert all("cpu" in container["resources"]["requests"] for container in containers().values())
    assert "replicas" not in deployment["spec"]


def test_metrics_that_manifests_name_exist():
    annotations = resource("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == environment(containers()["proxy"])["PORT"]
    example = yaml.safe_load((EXAMPLE / "horizontalpodautoscaler.yaml").read_text())["spec"]["metrics"]
    named = {metric["pods"]["metric"]["name"] for metric in example if metric["type"] == "Pods"}
    assert named == {"mnist_queue_images"}
    assert named <= {family.name for family in Metrics(()).registry.collect()}


def test_prometheus_finds_the_pods():
    config = yaml.safe_load((ROOT / "deploy/prometheus/kubernetes.yml").read_text())
    [job] = config["scrape_configs"]
    [kept] = [rule for rule in job["relabel_configs"] if rule.get("action") == "keep"]
    labels = resource("Deployment")["spec"]["template"]["metadata"]["labels"]
    port = environment(containers()["proxy"])["PORT"]
    assert kept["regex"] == f"{labels['app.kubernetes.io/name']};{port}"
    assert job["job_name"] in re.findall(r'job="(\w+)"', (ROOT / "deploy/prometheus/alerts.yml").read_text())


# --- systemd ----------------------------------------------------------------------------------------------------------


def test_the_unit_starts_the_service_and_waits_for_its_end():
    unit = configparser.ConfigParser()
    unit.optionxform = str
    unit.read(ROOT / "deploy/mnist.service")
    service, settings = unit["Service"], from_environment({})
    assert service["ExecStart"] == f"{service['WorkingDirectory']}/.venv/bin/python -m serve"
    assert service["ReadWritePaths"] == service["WorkingDirectory"]
    assert int(service["TimeoutStopSec"]) >= settings.drain_seconds + settings.grace_seconds + 10


# --- the container ----------------------------------------------------------------------------------------------------


def instructions(name: str) -> list[str]:
    """The arguments of every instruction `name` of the Dockerfile, continuation lines joined."""
    text = re.sub(r"\\\n(\s*#.*\n)*", " ", (ROOT / "Dockerfile").read_text())
    return re.findall(rf"^{name}\s+(.+)$", text, re.MULTILINE)


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for line in instructions("ENV") for word in shlex.split(line))


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` out: the last pattern that matches it or a folder above it decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern, keeps_out = line.removeprefix("!").removeprefix("**/"), not line.startswith("!")
        names = [path, *map(str, Path(path).parents), *(Path(path).parts if "**/" in line else ())]
        if line and not line.startswith("#") and any(fnmatch(name, pattern) for name in names if name != "."):
            verdict = keeps_out
    return verdict


def test_dockerfile_passes_hadolint():
    hadolint = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_image_runs_as_nobody_in_particular():
    assert instructions("USER") == [f"{USER}:0"], "a number, so that runAsNonRoot can be checked; group 0 for OpenShift"
    assert image_environment()["HOST"] == "0.0.0.0"
    assert image_environment()["RUN_DIR"] == image_environment()["TMPDIR"] == "/run/mnist"
    assert len(instructions("HEALTHCHECK")) == 1


def test_image_holds_what_serving_and_packing_import():
    """No test, no document, no secret goes to the build; every module that the image runs does."""
    for wanted in ("handler/decode.py", "proxy/app.py", "serve/log4j2.xml", "train/pack.py", "deploy/run_torchserve.py",
                   "train/weights/mnist-classifier.pt", "samples/7.png", "requirements.txt"):  # fmt: skip
        assert (ROOT / wanted).exists()
        assert not ignored(wanted)
    for unwanted in ("tests/unit/test_app.py", ".git/config", "run/key_file.json", ".venv/bin/python", 
                     "docs/scaling.md", "data/train", "proxy/__pycache__/app.pyc", "deploy/haproxy.cfg"):  # fmt: skip
        assert ignored(unwanted)


def imported(folder: str, *skipped: str) -> Iterator[str]:
    for file in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())) if file.name not in skipped else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            yield from (name.partition(".")[0] for name in names)


def test_serving_section_of_the_requirements_is_complete():
    """The image installs that section only, so each distribution that serving imports has to be in it."""
    pinned = {re.sub("[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins(Section.SERVING)}
    wanted = {*imported("handler"), *imported("proxy"), *imported("serve"), *imported("deploy")}
    distributions = packages_distributions()
    for module in wanted & set(distributions) - set(sys.stdlib_module_names):
        names = {re.sub("[-_.]+", "-", name).lower() for name in distributions[module]}
        assert names & pinned, f"{module} comes from {names}, none of them in the serving section"
    assert any(".venv/bin/python -m serve.install serving" in line for line in instructions("RUN"))


@pytest.mark.parametrize("name", ["Dockerfile", "docs/deployment.md"])
def test_documented_runs_let_torchserve_load_its_native_library(name):
    mounts = re.findall(r"--tmpfs (\S+)", (ROOT / name).read_text())
    assert mounts
    assert all("exec" in mount.split(":")[1].split(",") for mount in mounts)


def test_torch_for_the_cpu_unless_asked():
    assert "DEVICE=cpu" in instructions("ARG")
    assert any("download.pytorch.org/whl/${DEVICE}" in line for line in instructions("RUN"))


# --- Compose ----------------------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    """compose.yaml with the defaults of its variables filled in."""

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return list(map(fill, node))
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", node) if isinstance(node, str) else node

    return fill(yaml.safe_load((ROOT / "compose.yaml").read_text()))


def test_compose_file_is_valid():
    parsed = compose_spec.PyCompose.from_yaml(yaml.safe_dump(compose()))
    assert parsed.service_names() == ["mnist"]
    misspelt = yaml.safe_dump(compose()).replace("read_only", "readonly")
    with pytest.raises(ValueError, match="readonly"):
        compose_spec.PyCompose.from_yaml(misspelt)


def test_compose_service_is_locked_down():
    service = compose()["services"]["mnist"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    folder, options = service["tmpfs"][0].split(":")
    assert folder == image_environment()["RUN_DIR"]
    assert {"exec", f"uid={USER}"} <= set(options.split(",")), "without exec TorchServe has no unix sockets"
    assert service["ports"] == [f"127.0.0.1:3001:{image_environment()['PORT']}"]


def test_compose_waits_for_admitted_uploads():
    service = compose()["services"]["mnist"]
    assert set(service["environment"]) <= {name for name, _, _ in table()}
    settings = from_environment(service["environment"])
    assert int(service["stop_grace_period"].rstrip("s")) >= settings.drain_seconds + settings.grace_seconds + 10
