"""Prometheus scrapes a real service; every expression of the alerts and of the dashboard finds what it asks for."""

import io
import json
import math
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import yaml
from PIL import Image

from tests.stack import ROOT, free_ports, wait_until

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is missing (Debian: apt install prometheus)"
)

FOLDER = ROOT / "deploy/prometheus"
ALERTS = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
PANELS = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())["panels"]
    for target in panel.get("targets", ())
}
NOISE = (ROOT / "samples/7.png").read_bytes()[:-30]


def traffic(url):
    """Something of everything that is counted: answers, warnings, refusals, a photo, a huge image, a batch."""
    samples = [(ROOT / f"samples/{digit}.png").read_bytes() for digit in range(10)]
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(
            lambda image: requests.post(f"{url}/api/mnist", files={"image": image}, timeout=30), samples * 3
        )
        assert {response.status_code for response in done} == {200}
    assert requests.post(f"{url}/api/mnist", files={"image": NOISE}, timeout=30).status_code == 422
    for image in (large_and_dark(), huge()):
        assert requests.post(f"{url}/api/mnist", files={"image": image}, timeout=30).status_code == 200
    many = [("image", image) for image in samples]
    assert requests.post(f"{url}/api/mnist/batch", files=many, timeout=30).status_code == 200
    assert requests.get(f"{url}/nowhere", timeout=30).status_code == 404


def large_and_dark():
    """A large request, and an image that brings up a warning: dark on light."""
    pixels = np.random.default_rng(1).integers(200, 255, (600, 600), dtype=np.uint8)
    pixels[200:400, 280:320] = 0
    pixels[200:400, 420:460] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def huge():
    """An image of so many pixels that it is isolated."""
    file = io.BytesIO()
    Image.new("1", (4200, 4200)).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def prometheus(service, tmp_path_factory):
    """A Prometheus with our own configuration, but for the ports and its pace; gives its query function."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
    ports = {"proxy": service.port, "torchserve": service.ports["TS_METRICS_PORT"]}
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{ports[job['job_name']]}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={url[7:]}"], stdout=log, stderr=log)

    def query(expression):
        """(labels, value) of each series."""
        answer = requests.get(f"{url}/api/v1/query", {"query": expression}, timeout=30).json()
        assert answer["status"] == "success", answer
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def ready():
        try:
            return requests.get(f"{url}/-/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    try:
        wait_until(ready, 60, "Prometheus")
        first = f"http://127.0.0.1:{service.port}"
        traffic(first)  # so that every counter is there before what is counted next
        wait_until(lambda: query("sum(mnist_predictions_total)") and query("mnist_refused_images_total"), 60, "counts")
        for _ in range(3):
            traffic(first)
            time.sleep(2)
        yield query
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", ALERTS)
def test_what_an_alert_compares_is_there(prometheus, name):
    compared, limits = re.subn(r" (>|==) [\d.e]+", "", ALERTS[name])
    assert limits
    assert all(math.isfinite(value) for _, value in wait_for(prometheus, compared))


@pytest.mark.parametrize("name", PANELS)
def test_what_a_panel_shows_is_there(prometheus, name):
    assert all(math.isfinite(value) for _, value in wait_for(prometheus, PANELS[name]))


def wait_for(query, expression):
    """A rate needs two scrapes, and TorchServe's counters come a second late."""
    return wait_until(lambda: query(expression), 15, expression)


def test_both_jobs_are_scraped_and_nothing_fires(prometheus):
    assert {labels["job"]: value for labels, value in prometheus("up")} == {"proxy": 1, "torchserve": 1}
    assert prometheus('ALERTS{alertstate="firing"}') == []


def test_the_numbers_are_those_of_the_traffic(prometheus):
    before = dict_of(prometheus("mnist_requests_total"), "endpoint", "status", "code")
    assert before["/api/mnist", "200", ""] >= 4 * 31
    assert before["/api/mnist", "422", "undecodable_image"] >= 4
    assert before["other", "404", "not_found"] >= 4
    classes = dict_of(prometheus("sum by (class_name) (mnist_predictions_total)"), "class_name")
    assert len(classes) == 10
    batches = dict_of(prometheus("mnist_batch_seconds_count"), "size_class")
    assert batches["isolated",] >= 4
    assert batches["large",] >= 8
    assert batches["small",] >= 10


def dict_of(series, *labels):
    return {tuple(metric.get(label, "") for label in labels): value for metric, value in series}


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_agrees(arguments):
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_shown_to_fire():
    text = (FOLDER / "alerts_test.yml").read_text()
    assert [name for name in ALERTS if f'alertname="{name}"' not in text] == []
