"""The page for people: the files of proxy/page/ and the sample digits, read once at start, served from memory.

Nothing of it comes from elsewhere, and its Content-Security-Policy lets nothing from elsewhere in.
"""

import hashlib
from pathlib import Path

from proxy import openapi
from proxy.app import Endpoint, Request, Response, Routes
from proxy.settings import Settings

FOLDER = Path(__file__).parent / "page"
SAMPLES = Path(__file__).parent.parent / "samples"
TEXTS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
TYPES = {suffix: f"{kind}; charset=utf-8" for suffix, kind in TEXTS.items()}
TYPES |= {".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json"}
NAMED = {"index.html": "/", "docs.html": "/docs", "favicon.svg": "/favicon.ico"}  # the rest: /page/<name>
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(self), microphone=(), geolocation=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-cache"),  # kept, but asked for again by its ETag: a new version shows at once
)


def routes(settings: Settings) -> Routes:
    """Path -> GET -> endpoint of each file, and of the OpenAPI document."""
    paths = {NAMED.get(file.name, f"/page/{file.name}"): file for file in FOLDER.iterdir()}
    paths |= {f"/samples/{file.name}": file for file in SAMPLES.glob("*.png")}
    files = {path: {"GET": _file(file.suffix, file.read_bytes())} for path, file in paths.items()}
    return files | {"/openapi.json": {"GET": _file(".json", openapi.document(settings).encode())}}


def _file(suffix: str, body: bytes) -> Endpoint:
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = (("content-type", TYPES[suffix]), ("etag", etag), *HEADERS)
    whole, unchanged = Response(200, body, headers), Response(304, b"", headers)

    async def endpoint(request: Request) -> Response:
        return unchanged if etag in request.headers.get("if-none-match", "") else whole

    return endpoint
