"""nginx in front of the running service: deploy/nginx.conf with its TLS and limits, and a path prefix."""

import asyncio
import json
import shutil
import ssl
import subprocess
import time
from collections import Counter
from contextlib import contextmanager

import aiohttp
import pytest
import requests
from playwright.sync_api import expect, sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.load import SAMPLES
from tests.stack import ROOT, free_ports, wait_until

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx (Debian: apt install nginx-light)")


@pytest.fixture(scope="module")
def ingress(service, tmp_path_factory):
    """nginx before the service: its address, what to trust, and its folder."""
    home, [port] = tmp_path_factory.mktemp("nginx"), free_ports(1)
    with configured(home, service.port, port) as (url, trust):
        wait_until(lambda: ask(url, trust, "GET", "/livez")[0] == 200, 10, "nginx")
        yield url, trust, home


@contextmanager
def configured(home, service, port):
    """nginx with the configuration that is shipped, but for the two ports: its address, and what to trust."""
    (home / "tls").mkdir()
    files = ["-keyout", home / "tls/key.pem", "-out", home / "tls/cert.pem"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *name], check=True, capture_output=True
    )
    text = (ROOT / "deploy/nginx.conf").read_text()
    assert text.count("127.0.0.1:3001") == text.count("127.0.0.1:8443") == 1
    text = text.replace("127.0.0.1:3001", f"127.0.0.1:{service}").replace("127.0.0.1:8443", f"127.0.0.1:{port}")
    (home / "nginx.conf").write_text(text)
    nginx = subprocess.Popen(
        ["nginx", "-p", home, "-c", home / "nginx.conf", "-g", "daemon off;"], stderr=subprocess.PIPE
    )
    try:
        yield f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=home / "tls/cert.pem")
    finally:
        nginx.terminate()
        nginx.wait()


async def _ask(session, method, url, data=None):
    try:
        async with session.request(method, url, data=data) as response:
            return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read()
    except aiohttp.ClientConnectorError:
        return 0, {}, b""


def ask(url, trust, method, path, data=None, times=1):
    """The answer, or all of them where the request is sent several times at once."""

    async def every():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=10)) as session:
            return await asyncio.gather(*(_ask(session, method, url + path, data) for _ in range(times)))

    answers = asyncio.run(every())
    return answers[0] if times == 1 else answers


def answered(answer):
    """The answer, None where nothing listens."""
    return answer if answer[0] else None


def picture():
    form = aiohttp.FormData()
    form.add_field("image", SAMPLES[7].read_bytes(), filename="7.png")
    return form


def test_a_picture_is_answered_over_tls(ingress):
    url, trust, _ = ingress
    status, headers, body = ask(url, trust, "POST", "/api/mnist", picture())
    assert status == 200
    assert json.loads(body)["predictions"]["prediction"]["label"] == 7
    assert headers["strict-transport-security"]
    assert headers["x-request-id"]


def test_a_caller_keeps_its_request_id(ingress):
    url, _, home = ingress
    answer = requests.post(
        f"{url}/api/mnist", headers={"X-Request-Id": "mine"}, files={}, verify=home / "tls/cert.pem", timeout=10
    )
    assert answer.headers["X-Request-Id"] == answer.json()["error"]["request_id"] == "mine"


def test_without_a_service_it_answers_like_one(tmp_path):
    with configured(tmp_path, *free_ports(2)) as (url, trust):
        status, headers, body = wait_until(lambda: answered(ask(url, trust, "GET", "/livez")), 10, "nginx")
    assert (status, headers["content-type"]) == (502, "application/json")
    assert json.loads(body)["error"]["code"] == "model_server_error"


def test_the_numbers_are_not_for_outside(ingress):
    url, trust, _ = ingress
    assert ask(url, trust, "GET", "/metrics")[0] == 404


def test_a_large_body_gets_413_and_reaches_no_disk(ingress):
    url, trust, home = ingress
    status, _, body = ask(
        url, trust, "POST", "/api/mnist", aiohttp.BytesPayload(bytes(9 * 2**20), content_type="image/png")
    )
    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")
    assert not [path for path in (home / "body").rglob("*") if path.is_file()]


def test_one_client_gets_no_more_than_its_share(ingress):
    url, trust, _ = ingress
    answers = ask(url, trust, "GET", "/livez", times=400)
    statuses = Counter(status for status, _, _ in answers)
    assert set(statuses) == {200, 429}
    assert statuses[200] >= 100
    refusal = next(answer for answer in answers if answer[0] == 429)
    assert json.loads(refusal[2])["error"]["code"] == "too_many_requests"
    assert refusal[1]["retry-after"] == "1"


PREFIXED = """
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream service {{ server 127.0.0.1:{service}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location /digits/ {{ proxy_pass http://service/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def prefixed(service, tmp_path_factory):
    """Address of the service under a path, behind an nginx that keeps its connections."""
    home, [port] = tmp_path_factory.mktemp("prefixed"), free_ports(1)
    (home / "nginx.conf").write_text(PREFIXED.format(service=service.port, port=port))
    nginx = subprocess.Popen(["nginx", "-p", home, "-c", home / "nginx.conf", "-g", "daemon off;"])
    url = f"http://127.0.0.1:{port}/digits/"
    try:
        wait_until(lambda: nginx.poll() is not None or answers(url), 10, "nginx")
        assert nginx.poll() is None
        yield url
    finally:
        nginx.terminate()
        nginx.wait()


def answers(url) -> bool:
    try:
        return requests.get(url + "livez", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_the_page_works_under_a_path(prefixed):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page, failed = browser.new_page(), []
        page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
        page.goto(prefixed)
        page.get_by_role("button", name="Sample of 8").click()
        expect(page.locator("#numeral")).to_have_text("8")
        page.goto(prefixed + "docs")
        expect(page.get_by_text("/api/mnist/batch").first).to_be_visible()
        browser.close()
    assert failed == []


def connections_of_nginx(stack) -> set[int]:
    """Its ends of the connections to the proxy that are open."""
    found = stack.proxy.net_connections()
    return {each.raddr.port for each in found if each.status == "ESTABLISHED" and each.laddr.port == stack.port}


def test_an_idle_connection_is_used_again(service, prefixed):
    image = {"image": SAMPLES[7].read_bytes()}
    assert requests.post(prefixed + "api/mnist", files=image, timeout=30).status_code == 200
    before = connections_of_nginx(service)
    time.sleep(2)
    assert requests.post(prefixed + "api/mnist", files=image, timeout=30).status_code == 200
    assert before
    assert connections_of_nginx(service) <= before
