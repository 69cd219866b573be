"""docs/operations.md is true: its commands run as they stand, its metrics, labels and files exist."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from proxy.errors import Cause
from tests import documents
from tests.documents import here, shell
from tests.stack import running
from train.own_model import ROOT

TEXT = (ROOT / "docs/operations.md").read_text()
blocks = partial(documents.blocks, TEXT)
SEVEN = {"image": (ROOT / "samples/7.png").read_bytes()}


def scripts(word):
    return [block for block in blocks("sh") if word in block]


def test_every_shell_block_is_run_by_a_test():
    assert set(blocks("sh")) == set(
        scripts("/metrics")
        + scripts("promtool")
        + scripts("api/mnist")
        + scripts("rollout")
        + scripts("docker push")  # tests/integration/test_docs.py
    )
    assert scripts("make rollout") == [
        "make mar VERSION=2.0\nmake rollout\nmake rollback\n"
    ]  # tests/integration/test_rollout.py


def test_metrics_are_those_of_the_table(service):
    requests.post(f"http://127.0.0.1:{service.port}/api/mnist", files=SEVEN, timeout=15)
    [script] = [script for script in scripts("/metrics") if "8082" in script]
    text = shell(here(script, service))
    rows = re.findall(r"^\| (`mnist_.*?`.*?) \|(.*?)\| .* \|$", TEXT, re.MULTILINE)
    assert len(rows) > 12
    for names, labels in rows:
        for name in re.findall(r"`(mnist_\w+)`", names):
            if "TorchServe" in names:  # there once it has counted; tests/integration/test_prometheus.py
                continue
            assert f"# TYPE {name.removesuffix('_info')}" in text, name
            family = re.search(rf"^{name}\w*\{{(.*?)\}}", text, re.MULTILINE)
            wanted = [label for label in labels.strip().split(", ") if label not in ("", "…")]
            assert not wanted or family, name
            assert all(f'{label}="' in family[1] for label in wanted), name
    told = set(re.findall(r"`(mnist_\w+)`", TEXT))
    shown = re.findall(r"^# TYPE (mnist_\w+)", text, re.MULTILINE)
    assert [name for name in shown if not told & {name, f"{name}_info"}] == []


def test_what_the_proxy_shows_parses(service):
    text = requests.get(f"http://127.0.0.1:{service.port}/metrics", timeout=15).text
    assert len(list(text_string_to_metric_families(text))) > 10


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is missing (Debian: apt install prometheus)")
def test_promtool():
    [script] = scripts("promtool")
    assert "SUCCESS" in shell(script)  # it exits with 1 otherwise


def test_every_cause_of_a_refusal_has_a_series(service):
    causes = {cause.value for cause in Cause} - {""}
    [script] = [script for script in scripts("/metrics") if "refusals" in script]
    assert set(re.findall(r'cause="(\w+)"', shell(here(script, service)))) == causes


def test_files_and_targets_named_exist():
    files = re.findall(r"deploy/[\w./-]+\w", TEXT) + [f"docs/{link}" for link in re.findall(r"\]\((\w+\.md)\)", TEXT)]
    assert len(files) >= 4
    assert [name for name in files if not Path(ROOT, name).exists()] == []
    assert {"mar", "rollout", "rollback"} <= set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )


def test_keys_access_log_and_traces_of_a_real_service(model_store, tmp_path):
    """One service with keys and a JSON log: the commands shown, who is refused, and what the log tells of it."""
    settings = {"MODEL_STORE": str(model_store), "API_KEYS": "first,second", "TS_WORKERS": "1"}
    with running(tmp_path, **settings) as stack:
        [script] = scripts("api/mnist")
        assert shell(here(script, stack)).count('"prediction": {"class_name": "seven"') == 2
        url = f"http://127.0.0.1:{stack.port}"
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        files = {"image": ("secret-name.png", SEVEN["image"])}
        for path in ("/api/mnist", "/api/mnist/batch"):
            refused = requests.post(url + path, files=files, headers={"X-API-Key": "third"}, timeout=15)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
        for path in ("/", "/livez", "/readyz", "/metrics", "/openapi.json"):
            assert requests.get(url + path, timeout=15).status_code == 200
        headers = {"X-API-Key": "first", "X-Request-Id": "traced-1", "traceparent": trace}
        assert requests.post(f"{url}/api/mnist", files=files, headers=headers, timeout=15).status_code == 200
        assert stack.stop() == 0  # the log is complete
    lines = [json.loads(line) for line in stack.output.read_text().splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line["path"].startswith("/api/")] == [200, 200, 401, 401, 200]
    shown = json.loads(blocks("json")[0])
    [traced] = [line for line in lines if line["id"] == "traced-1"]
    assert traced["trace_id"] == trace[3:35]
    assert list(traced) == list(shown)
    assert (list(traced["ms"]), list(traced["bytes"])) == (list(shown["ms"]), list(shown["bytes"]))
    assert traced["ms"]["upstream"] > 0
    assert traced["bytes"]["in"] > len(SEVEN["image"])
    told = stack.output.read_text()
    assert not any(word in told for word in ("secret-name", "first", "third", "/readyz"))
