"""Clients as people use them: each family's own way to send an image, its headers, its connection handling."""

import asyncio
import http.client
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import aiohttp
import pytest
import requests
import urllib3
from playwright.sync_api import sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.load import SAMPLES
from tests.stack import Stack, proxy_beside

SEVEN = SAMPLES[7].read_bytes()
PNG = {"Content-Type": "image/png"}
TOO_LARGE = 20_000_000  # bytes: more than all buffers on the way hold
NPM = ("axios@1.21.1", "form-data@4.0.6")


def needs(*programs: str):
    """Skips a test where one of the programs is missing."""
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(programs)}")


def run(*command: object, **settings) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        [word if isinstance(word, bytes) else str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=120,
        **settings,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def url(service: Stack) -> str:
    return f"http://127.0.0.1:{service.port}/api/mnist"


def label(body: str | bytes) -> int:
    return json.loads(body)["predictions"]["prediction"]["label"]


# An image in a form, without a file name (RFC 7578 makes it optional)


def test_urllib3_field_without_a_file_name(url):
    assert label(urllib3.request("POST", url, fields={"image": (None, SEVEN, "image/png")}).data) == 7


def test_requests_field_without_a_file_name(url):
    assert label(requests.post(url, files={"image": (None, SEVEN, "image/png")}, timeout=30).content) == 7


def test_a_text_field_is_named_in_the_error(url):
    """urllib3 gives a bare value neither a file name nor a type: by RFC 7578 it is text."""
    answer = urllib3.request("POST", url, fields={"image": SEVEN, "file": ("a.png", SEVEN)})
    error = json.loads(answer.data)["error"]
    assert (answer.status, error["code"]) == (400, "missing_image")
    assert "`image`, which is text" in error["message"]
    assert "`file`" in error["message"]


def test_aiohttp_multipart_writer(url):
    async def ask() -> bytes:
        with aiohttp.MultipartWriter("form-data") as form:
            form.append(SEVEN, PNG).set_content_disposition("form-data", name="image")
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
            return await response.read()

    assert label(asyncio.run(ask())) == 7


@needs("curl")
def test_curl_with_a_file_as_a_value(url):
    assert label(run("curl", "-sS", "-F", f"image=<{SAMPLES[7]};type=image/png", url)) == 7


@needs("curl")
@pytest.mark.parametrize("name", [b"7.png", "zähler.png".encode("latin-1"), "七.png".encode("shift-jis")])
def test_a_file_name_in_any_encoding(url, name):
    assert label(run("curl", "-sS", "-F", b"image=@%b;filename=%b" % (bytes(SAMPLES[7]), name), url)) == 7


AXIOS = """
import fs from 'node:fs'; import axios from 'axios'; import FormData from 'form-data';
const form = new FormData(); form.append('image', fs.readFileSync(process.argv[2]));
const answer = await axios.post(process.argv[3], form, {headers: form.getHeaders()});
console.log(JSON.stringify(answer.data));
"""


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory):
    """A folder with axios and form-data; skips where npm cannot get them."""
    folder = tmp_path_factory.mktemp("npm")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, *NPM]
    if subprocess.run(command, capture_output=True, timeout=120).returncode:
        pytest.skip("npm cannot reach its registry")
    return folder


@needs("node", "npm")
def test_axios_with_a_buffer(url, node_modules):
    script = node_modules / "ask.mjs"
    script.write_text(AXIOS)
    assert label(run("node", script, SAMPLES[7], url)) == 7


def test_a_content_type_set_by_hand_is_explained(url):
    answer = requests.post(url, files={"image": SEVEN}, headers={"Content-Type": "multipart/form-data"}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_multipart")
    assert "has no boundary; do not set that header yourself" in answer.json()["error"]["message"]


# Headers that libraries add


FETCH = """async ([url, image, headers]) => {
    const form = new FormData();
    form.append("image", new Blob([Uint8Array.from(image)], {type: "image/png"}), "7.png");
    const response = await fetch(url, {method: "POST", body: form, headers});
    return await response.json();
}"""
ADDED = {
    "Cache-Control": "no-cache",
    "X-Requested-With": "XMLHttpRequest",
    "baggage": "sentry-environment=production",
    "sentry-trace": "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
    "tracestate": "rojo=00f067aa0ba902b7",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


@pytest.fixture
def elsewhere(tmp_path):
    """A page of another origin."""
    (tmp_path / "index.html").write_text("<title>elsewhere</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_page_of_another_origin_may_add_headers(url, elsewhere):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
        page.goto(elsewhere)
        answer = page.evaluate(FETCH, [url, list(SEVEN), ADDED])
        browser.close()
    assert answer["predictions"]["prediction"]["label"] == 7


@pytest.mark.parametrize("asked", ["cache-control,x-requested-with", "baggage,sentry-trace", "x-anything-at-all"])
def test_a_preflight_grants_what_it_asks_for(url, asked):
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = requests.options(url, headers=headers, timeout=30)
    assert answer.status_code == 204
    assert set(answer.headers["Access-Control-Allow-Headers"].lower().split(",")) == set(asked.split(","))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer of-a-gateway", "X-API-Key": "ours"}, 200),
        ({"Authorization": "Bearer ours", "X-API-Key": "of-a-gateway"}, 200),
        ({"Authorization": "Basic Zm9vOmJhcg==", "X-API-Key": "ours"}, 200),
        ({"Authorization": "Bearer of-a-gateway"}, 401),
        ({}, 401),
    ],
)
def test_any_one_valid_key_opens(guarded, headers, status):
    assert requests.post(guarded, files={"image": SEVEN}, headers=headers, timeout=30).status_code == status


@pytest.fixture(scope="module")
def guarded(service, tmp_path_factory):
    with proxy_beside(service, tmp_path_factory.mktemp("guarded"), API_KEYS="other,ours") as proxy:
        yield f"http://127.0.0.1:{proxy.port}/api/mnist"


# Versions of HTTP, and how clients use connections


# `--http2` asks with `Upgrade: h2c`; the service stays with HTTP/1.1, as RFC 9110 allows.
SPOKEN = {"--http1.0": "1", "--http1.1": "1.1", "--http2": "1.1", "--http2-prior-knowledge": "2"}


@needs("curl")
@pytest.mark.parametrize(("version", "spoken"), SPOKEN.items())
def test_curl_in_each_version_of_http(url, version, spoken):
    told = run("curl", "-sS", version, "-F", f"image=@{SAMPLES[7]}", "-w", "\n%{http_version}", url)
    body, _, version_told = told.rpartition("\n")
    assert label(body) == 7
    assert version_told == spoken


HTTP2 = """
import fs from 'node:fs'; import http2 from 'node:http2';
const [file, address] = process.argv.slice(2), url = new URL(address), session = http2.connect(url.origin);
const ask = () => new Promise((done, failed) => {
    const stream = session.request({':method': 'POST', ':path': url.pathname, 'content-type': 'image/png'});
    let body = ''; stream.on('data', data => body += data); stream.on('end', () => done(body));
    stream.on('error', failed); stream.end(fs.readFileSync(file));
});
const bodies = await Promise.all(Array.from({length: 20}, ask)); session.close();
console.log(JSON.stringify(bodies.map(body => JSON.parse(body).predictions.prediction.label)));
"""


@needs("node")
def test_twenty_requests_on_one_http2_connection(url, tmp_path):
    (tmp_path / "ask.mjs").write_text(HTTP2)
    assert json.loads(run("node", tmp_path / "ask.mjs", SAMPLES[7], url)) == [7] * 20


JAVA = """
import java.net.URI; import java.net.http.*; import java.nio.file.Path;
public class Ask {
    public static void main(String[] words) throws Exception {
        var client = HttpClient.newHttpClient();  // by default it asks for HTTP/2 with Upgrade: h2c
        var body = HttpRequest.BodyPublishers.ofFile(Path.of(words[0]));
        var request = HttpRequest.newBuilder(URI.create(words[1])).header("Content-Type", "image/png").POST(body);
        for (int i = 0; i < 3; i++) {
            var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }
}
"""


def java(file, url, folder) -> list[str]:
    """Three answers, each its status and body, to Java's default client."""
    (folder / "Ask.java").write_text(JAVA)
    return run("java", folder / "Ask.java", file, url).splitlines()


@needs("java", "javac")
def test_javas_default_client(url, tmp_path):
    answers = java(SAMPLES[7], url, tmp_path)
    assert [label(answer.removeprefix("200 ")) for answer in answers] == [7] * 3


@needs("curl")
def test_expect_100_continue(url):
    done = run("curl", "-sSv", "-H", "Expect: 100-continue", "-F", f"image=@{SAMPLES[7]}", "--stderr", "-", url)
    assert "< HTTP/1.1 100 Continue" in done
    assert '"label": 7' in done


NODE_FETCH = """
import fs from 'node:fs'; const [file, url] = process.argv.slice(2);
const body = fs.readFileSync(file), headers = {'Content-Type': 'image/png'};
console.log((await fetch(url, {method: 'POST', headers, body})).status);
"""


def with_http_client(url: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=30)
    connection.request("POST", "/api/mnist", body, PNG)
    return connection.getresponse().status


def with_urllib(url: str, body: bytes) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, PNG), timeout=30) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def with_aiohttp(url: str, body: bytes) -> int:
    async def ask() -> int:
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=PNG) as response:
            return response.status

    return asyncio.run(ask())


PYTHONS = {
    "http.client": with_http_client,
    "urllib": with_urllib,
    "urllib3": lambda url, body: urllib3.request("POST", url, body=body, headers=PNG).status,
    "requests": lambda url, body: requests.post(url, body, headers=PNG, timeout=30).status_code,
    "aiohttp": with_aiohttp,
}


@pytest.mark.parametrize("ask", PYTHONS.values(), ids=PYTHONS)
def test_a_python_client_that_still_sends_gets_its_413(url, ask):
    assert [ask(url, bytes(TOO_LARGE)) for _ in range(5)] == [413] * 5


@pytest.fixture(scope="session")
def large_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("large") / "large.png"
    file.write_bytes(bytes(TOO_LARGE))
    return file


@needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_that_still_sends_gets_its_413(url, large_file, version):
    words = ("-H", "Expect:", "-H", "Content-Type: image/png", "--data-binary", f"@{large_file}")
    command = ("curl", "-sS", version, *words, "-o", "/dev/null", "-w", "%{http_code}", url)
    assert [run(*command) for _ in range(5)] == ["413"] * 5


@needs("node")
def test_nodes_fetch_that_still_sends_gets_its_413(url, large_file, tmp_path):
    (tmp_path / "ask.mjs").write_text(NODE_FETCH)
    ask = partial(run, "node", tmp_path / "ask.mjs", large_file, url)
    assert [ask() for _ in range(5)] == ["413\n"] * 5


@needs("java", "javac")
def test_java_that_still_sends_gets_its_413(url, large_file, tmp_path):
    assert [answer[:3] for answer in java(large_file, url, tmp_path)] == ["413"] * 3
