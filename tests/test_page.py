"""The page's files as served: complete, own, cacheable, and locked to this origin."""

import re
from html.parser import HTMLParser

import pytest

from proxy import openapi, page
from proxy.settings import Settings
from tests.exchanges import Wire, app_of, ask, exchange_of

APP = app_of(page.routes(openapi.document(Settings())))


def get(path, method="GET", **headers):
    wire = Wire()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    ask(APP, exchange_of(method, path, named, wire=wire))
    return wire


class Html(HTMLParser):
    """What a page names and how: `loads`, addresses the browser fetches; `inline`, tags with code or style in them."""

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
def test_a_page_loads_only_what_is_served_here_and_holds_no_inline_code(path):
    served = get(path)
    assert served.status == 200
    assert served.headers["content-type"] == "text/html; charset=utf-8"
    found = Html(served.body.decode())
    assert len(found.loads) > 3
    assert found.inline == []
    for address in found.loads:
        assert get("/" + address).status == 200, address


@pytest.mark.parametrize("file", sorted(page.FOLDER.glob("*.js")), ids=lambda file: file.name)
def test_scripts_import_only_files_served_beside_them(file):
    for name in re.findall(r'from "\./([\w.]+)"', file.read_text()):
        assert get(f"/page/{name}").headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js", "/page/style.css", "/favicon.ico", "/samples/7.png"])
def test_every_file_is_locked_to_this_origin(path):
    served = get(path)
    policy = dict(rule.split(" ", 1) for rule in served.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in served.headers["content-security-policy"]
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["referrer-policy"] == "no-referrer"


def test_a_file_is_sent_once_and_then_only_asked_about():
    first = get("/page/page.js")
    again = get("/page/page.js", If_None_Match=first.headers["etag"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert get("/page/page.js", If_None_Match='"another"').status == 200
    assert get("/page/pad.js").headers["etag"] != first.headers["etag"]


def test_the_icon_and_all_sample_digits_are_there():
    assert get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    assert get("/favicon.ico", method="HEAD").status == 200
    for digit in range(10):
        assert get(f"/samples/{digit}.png").body[:8] == b"\x89PNG\r\n\x1a\n"


def test_nothing_else_of_the_folder_can_be_reached():
    for path in ("/page/", "/page/../settings.py", "/page/index.html/", "/samples/README.md", "/samples/"):
        assert get(path).status == 404
