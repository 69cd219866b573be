"""The page for people at /, the API's documentation at /docs, and the files of both: read at start, served from memory.

The files are those of proxy/page/, the sample digits, and Swagger UI's own from its Python package. Nothing is fetched
from another origin, and the Content-Security-Policy allows no other.
"""

import hashlib
from importlib.metadata import distribution
from pathlib import Path

from proxy.app import Endpoint, Request, Response, Routes

FOLDER = Path(__file__).parent / "page"
SAMPLES = Path(__file__).parent.parent / "samples"
# located, not imported: the package's code would import Flask
SWAGGER_UI = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))
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
    ("cache-control", "no-cache"),  # browsers revalidate by ETag, so a new version shows at once
)


def routes(document: str) -> Routes:
    """Path -> GET -> endpoint of each file, and of the OpenAPI `document` that /docs shows."""
    swagger_ui = (SWAGGER_UI / name for name in ("swagger-ui-bundle.js", "swagger-ui.css"))
    paths = {NAMED.get(file.name, f"/page/{file.name}"): file for file in (*FOLDER.iterdir(), *swagger_ui)}
    paths |= {f"/samples/{file.name}": file for file in SAMPLES.glob("*.png")}
    files = {path: {"GET": _file(file.suffix, file.read_bytes())} for path, file in paths.items()}
    return files | {"/openapi.json": {"GET": _file(".json", document.encode())}}


def _file(suffix: str, body: bytes) -> Endpoint:
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = (("content-type", TYPES[suffix]), ("etag", etag), *HEADERS)
    whole, unchanged = Response(200, body, headers), Response(304, b"", headers)

    async def endpoint(request: Request) -> Response:
        return unchanged if etag in request.headers.get("if-none-match", "") else whole

    return endpoint
