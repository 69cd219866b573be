"""The files of / and /docs as served: complete, from this origin only, and cacheable."""

import asyncio
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from proxy import page
from proxy.settings import Settings

SERVED = {"name": "toys", "input": "animal", "class_names": ["cat", "unicorn"], "side": 32, "mean": 0.5, "std": 0.2}


def health(served=None, **details):
    """Stands for the proxy's Health after a probe."""
    return SimpleNamespace(details=json.dumps({"details": {"served": served} | details} if served else {}).encode())


ROUTES = page.routes(Settings(), health(SERVED))


def get(path, routes=ROUTES, **headers):
    """The response of an endpoint, with its headers as a mapping."""
    asked = SimpleNamespace(headers={name.replace("_", "-").lower(): value for name, value in headers.items()})
    found = asyncio.run(routes[path][1](asked))
    return SimpleNamespace(status=found.status, body=found.body, headers=dict(found.headers))


class Html(HTMLParser):
    """What a page refers to: `loads`, URLs that the browser fetches; `inline`, tags that contain code or style."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.inline, self._open = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._open = tag
        named = dict(attributes)
        if tag in ("script", "img", "link", "video", "iframe"):
            self.loads += [named[key] for key in ("src", "href") if named.get(key)]
        self.inline += [f"{tag} {name}" for name in named if name == "style" or name.startswith("on")]

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open in ("script", "style") and data.strip():
            self.inline.append(self._open)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_only_what_is_served_here(path):
    served = get(path)
    assert served.status == 200
    assert served.headers["content-type"] == "text/html; charset=utf-8"
    found = Html(served.body.decode())
    assert len(found.loads) > 3
    assert found.inline == []
    for url in found.loads:
        assert get(f"/{url}").status == 200, url


@pytest.mark.parametrize("file", sorted(page.FOLDER.glob("*.js")), ids=lambda file: file.name)
def test_scripts_import_only_files_served_beside_them(file):
    for name in re.findall(r'from "\./([\w.]+)"', file.read_text()):
        assert get(f"/page/{name}").headers["content-type"] == "text/javascript; charset=utf-8"


SOME = (
    "/",
    "/docs",
    "/page/page.js",
    "/page/style.css",
    "/page/swagger-ui-bundle.js",
    "/page/swagger-ui.css",
    "/openapi.json",
    "/page/model.json",
    "/favicon.ico",
    "/samples/7.png",
)


@pytest.mark.parametrize("path", SOME)
def test_the_policy_allows_this_origin_only(path):
    served = get(path)
    policy = dict(rule.split(" ", 1) for rule in served.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in served.headers["content-security-policy"]
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", SOME)
def test_an_unchanged_file_is_revalidated_and_not_sent_again(path):
    first = get(path)
    again = get(path, If_None_Match=first.headers["etag"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert get(path, If_None_Match='"another"').body == first.body


def test_every_file_has_an_etag_of_its_own():
    assert len({get(path).headers["etag"] for path in ROUTES}) == len(ROUTES)


def test_the_page_learns_the_model_and_whether_it_gives_verdicts():
    found = json.loads(get("/page/model.json").body)
    assert found == {
        "name": "toys", "input": "animal", "class_names": ["cat", "unicorn"], "symbols": [], "side": 32, "judged": False
    }  # fmt: skip
    told = page.routes(Settings(), health(SERVED | {"symbols": ["c", "u"]}, verdict="uncertain"))
    found = json.loads(get("/page/model.json", told).body)
    assert (found["symbols"], found["judged"]) == (["c", "u"], True)
    assert get("/page/model.json", page.routes(Settings(), health())).body == b"null"


def test_another_model_is_shown_as_soon_as_it_answers():
    answering = health(SERVED)
    routes = page.routes(Settings(), answering)
    first = get("/openapi.json", routes)
    answering.details = health(SERVED | {"name": "other", "class_names": ["dog"]}).details
    second = get("/openapi.json", routes, If_None_Match=first.headers["etag"])
    assert (second.status, json.loads(second.body)["info"]["title"]) == (200, "Image classification: other")


def test_swagger_ui_comes_from_its_package():
    bundle = get("/page/swagger-ui-bundle.js")
    assert bundle.headers["content-type"] == "text/javascript; charset=utf-8"
    assert b"SwaggerUIBundle" in bundle.body
    assert get("/page/swagger-ui.css").headers["content-type"] == "text/css; charset=utf-8"


def test_the_icon_and_all_sample_digits_are_there():
    assert get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    for digit in range(10):
        assert get(f"/samples/{digit}.png").body[:8] == b"\x89PNG\r\n\x1a\n"


def test_no_other_file_is_served():
    for path in ("/page/", "/page/../settings.py", "/page/index.html", "/samples/README.md", "/page/swagger-ui.js"):
        assert path not in ROUTES
