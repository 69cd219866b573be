"""The page for people at /, the API's documentation at /docs and /openapi.json: read at start, served from memory.

The files are those of proxy/page/, the sample digits, and Swagger UI's own from its Python package. Nothing is fetched
from another origin, and the Content-Security-Policy allows no other.
"""

import hashlib
import json
from importlib.metadata import distribution
from pathlib import Path
from string import Template

from proxy import VERSION, errors
from proxy.app import Endpoint, Request, Response, Routes
from proxy.settings import MIB, Settings

FOLDER = Path(__file__).parent
SAMPLES = FOLDER.parent.parent / "samples"
# located, not imported: the package's code would import Flask
SWAGGER_UI = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))
TEXTS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
TYPES = {suffix: f"{kind}; charset=utf-8" for suffix, kind in TEXTS.items()}
ASSETS = {*TYPES, ".svg"}
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
TEMPLATE = FOLDER / "openapi.json"
ERRORS = (  # whose message is always the same
    errors.BadParameter,
    errors.ClientTooSlow,
    errors.DeadlineExceeded,
    errors.InternalError,
    errors.MalformedMultipart,
    errors.MissingImage,
    errors.ModelServerError,
    errors.NotReady,
    errors.Overloaded,
    errors.SeveralImages,
    errors.Unauthorized,
    errors.UnsupportedMediaType,
)


def routes(settings: Settings) -> Routes:
    """Path -> GET -> endpoint of each file, and of the OpenAPI document."""
    swagger_ui = (SWAGGER_UI / name for name in ("swagger-ui-bundle.js", "swagger-ui.css"))
    paths = {
        NAMED.get(file.name, f"/page/{file.name}"): file
        for file in (*FOLDER.iterdir(), *swagger_ui)
        if file.suffix in ASSETS
    }
    paths |= {f"/samples/{file.name}": file for file in SAMPLES.glob("*.png")}
    files = {path: {"GET": _file(file.suffix, file.read_bytes())} for path, file in paths.items()}
    return files | {"/openapi.json": {"GET": _file(".json", document(settings).encode())}}


def _file(suffix: str, body: bytes) -> Endpoint:
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = (("content-type", TYPES[suffix]), ("etag", etag), *HEADERS)
    whole, unchanged = Response(200, body, headers), Response(304, b"", headers)

    async def endpoint(request: Request) -> Response:
        return unchanged if etag in request.headers.get("if-none-match", "") else whole

    return endpoint


def document(settings: Settings) -> str:
    """OpenAPI 3.1 as JSON: openapi.json with limits, error messages and, with API keys, security filled in."""
    messages = {error.code: error.message for error in ERRORS} | {
        "body_too_large": errors.BodyTooLarge(settings.max_body_bytes).message,
        "batch_too_large": errors.BodyTooLarge(settings.max_batch_bytes).message,
        "too_many_images": errors.TooManyImages(settings.max_batch_images).message,
    }
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        {name: json.dumps(message) for name, message in messages.items()},
        version=VERSION,
        max_body=f"{settings.max_body_bytes / MIB:g} MiB",
        max_batch=f"{settings.max_batch_bytes / MIB:g} MiB",
        max_images=settings.max_batch_images,
        security=json.dumps([{"bearer": []}, {"key": []}] if settings.api_keys else []),
    )
    found = json.loads(text)
    if not settings.api_keys:
        del found["components"]["securitySchemes"]
    return json.dumps(found, ensure_ascii=False)
