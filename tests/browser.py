"""What the browser tests need: options of Chromium, strokes to draw with the mouse, and a second proxy."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from tests.stack import ROOT, free_ports

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--no-sandbox",  # tests may run as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a camera that shows a test pattern
)
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}

# Corners of each digit's strokes, in hundredths of the drawing area: plain shapes, not tuned to the model.
DIGITS = {
    0: ["50,20 36,28 30,50 36,72 50,80 64,72 70,50 64,28 50,20"],
    1: ["50,18 50,82"],
    2: ["32,34 38,23 50,19 63,24 66,37 56,55 31,80 70,80"],
    3: ["33,25 48,18 63,24 64,37 48,47 64,55 67,69 52,81 32,75"],
    4: ["38,20 30,55 70,55", "62,22 60,82"],
    5: ["66,20 37,20 35,46 50,42 64,48 67,63 59,76 45,81 32,75"],
    6: ["60,18 43,32 34,55 38,74 50,81 63,75 65,60 54,52 36,62"],
    7: ["28,22 70,22 45,82"],
    8: ["62,28 50,19 38,28 44,43 60,56 64,70 50,81 36,70 42,54 58,42 62,28"],
    9: ["64,30 50,19 37,27 37,42 49,49 63,41 64,30 62,55 56,82"],
}


def corners(page, stroke):
    """Screen coordinates of the corners of a stroke."""
    box = page.locator("#pad").bounding_box()
    pairs = (map(float, pair.split(",")) for pair in stroke.split())
    return [(box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]) for x, y in pairs]


def draw(page, strokes, steps=4):
    """Draw strokes with the mouse on the drawing area."""
    page.locator("#pad").scroll_into_view_if_needed()
    for first, *rest in [corners(page, stroke) for stroke in strokes]:
        page.mouse.move(*first)
        page.mouse.down()
        for point in rest:
            page.mouse.move(*point, steps=steps)
        page.mouse.up()


@contextmanager
def another_proxy(service, **settings: str) -> Iterator[str]:
    """URL of a second proxy with other settings, in front of the same TorchServe."""
    port = free_ports(1)[0]
    ports = {name: str(number) for name, number in service.ports.items()} | {"PORT": str(port)}
    keys = {"TS_KEY_FILE": str(service.run / str(service.port) / "key_file.json")}
    proxy = subprocess.Popen([sys.executable, "-m", "proxy"], cwd=ROOT, env=os.environ | ports | keys | settings)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while not _answers(f"{url}/readyz"):
            assert proxy.poll() is None
            assert time.monotonic() < until, "the proxy is not ready"
            time.sleep(0.05)
        yield url
    finally:
        proxy.terminate()
        proxy.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False
