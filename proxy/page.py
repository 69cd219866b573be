"""The page for people: the files of proxy/page/ and the sample digits, read once at start, served from memory.

Nothing of it comes from elsewhere, and its Content-Security-Policy lets nothing from elsewhere in.
"""

import hashlib
from pathlib import Path

from proxy.request import Endpoint, Request, Response

FOLDER = Path(__file__).parent / "page"
SAMPLES = Path(__file__).parent.parent / "samples"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "png": "image/png"}
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


def routes() -> dict[str, dict[str, Endpoint]]:
    """Path -> GET -> endpoint of each file."""
    paths = {NAMED.get(file.name, f"/page/{file.name}"): file for file in FOLDER.iterdir()}
    paths |= {f"/samples/{file.name}": file for file in SAMPLES.glob("*.png")}
    return {path: {"GET": _file(file)} for path, file in paths.items()}


def _file(file: Path) -> Endpoint:
    body = file.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    kind = TYPES[file.suffix[1:]]
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    headers = (("content-type", kind + charset), ("etag", etag), *HEADERS)
    whole, unchanged = Response(200, body, headers), Response(304, b"", headers)

    async def endpoint(request: Request) -> Response:
        return unchanged if etag in request.headers.get("if-none-match", "") else whole

    return endpoint
