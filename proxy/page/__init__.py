"""The page for people at /, the API's documentation at /docs and /openapi.json, served from memory.

The files are those of proxy/page/, the sample digits, and Swagger UI's own from its Python package. Nothing is fetched
from another origin, and the Content-Security-Policy allows no other. What depends on the model, /openapi.json and the
model.json that the page reads, is made of what the model says of itself: a rollout may bring another one.
"""

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from proxy import VERSION, errors
from proxy.app import Endpoint, Request, Response, Routes
from proxy.health import Health
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


class Model(NamedTuple):
    """What the served model says of itself: its model.json (docs/own-model.md), and whether it gives verdicts."""

    name: str
    input: str
    class_names: tuple[str, ...]
    symbols: tuple[str, ...]
    side: int
    judged: bool


def served(health: Health) -> Model | None:
    """The model that answered the last probe; None before the first one."""
    details = json.loads(health.details).get("details", {})
    if not (facts := details.get("served")):
        return None
    symbols = tuple(facts.get("symbols", ()))
    return Model(
        facts["name"], facts["input"], tuple(facts["class_names"]), symbols, facts["side"], "verdict" in details
    )


def routes(settings: Settings, health: Health) -> Routes:
    """What answers GET for each file, and for what depends on the model."""
    swagger_ui = (SWAGGER_UI / name for name in ("swagger-ui-bundle.js", "swagger-ui.css"))
    paths = {
        NAMED.get(file.name, f"/page/{file.name}"): file
        for file in (*FOLDER.iterdir(), *swagger_ui)
        if file.suffix in ASSETS
    }
    paths |= {f"/samples/{file.name}": file for file in SAMPLES.glob("*.png")}
    files = {path: ("GET", _file(file.suffix, file.read_bytes())) for path, file in paths.items()}
    return files | {
        "/openapi.json": ("GET", _of_model(health, partial(document, settings))),
        "/page/model.json": ("GET", _of_model(health, _as_json)),
    }


def _file(suffix: str, body: bytes) -> Endpoint:
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = (("content-type", TYPES[suffix]), ("etag", etag), *HEADERS)
    whole, unchanged = Response(200, body, headers), Response(304, b"", headers)

    async def endpoint(request: Request) -> Response:
        return unchanged if etag in request.headers.get("if-none-match", "") else whole

    return endpoint


def _of_model(health: Health, text: Callable[[Model | None], str]) -> Endpoint:
    """JSON that is made anew only when another model is served."""
    made = lru_cache(maxsize=1)(lambda model: _file(".json", text(model).encode()))

    async def endpoint(request: Request) -> Response:
        return await made(served(health))(request)

    return endpoint


def _as_json(model: Model | None) -> str:
    return json.dumps(model and model._asdict())


def document(settings: Settings, model: Model | None) -> str:
    """OpenAPI 3.1 as JSON: openapi.json with limits, error messages, security and what is known of the model."""
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
    if model:
        _describe(found, model)
    return json.dumps(found, ensure_ascii=False)


def _describe(found: dict[str, Any], model: Model) -> None:
    """Add the classes and the size of the picture to the document; take out the verdict where there is none."""
    names, schemas = model.class_names, found["components"]["schemas"]
    found["info"]["title"] += f": {model.name}"
    found["info"]["summary"] += f" The model knows {len(names)} classes."
    schemas["Class"]["properties"]["class_name"]["enum"] = [*names]
    schemas["Class"]["properties"]["label"]["maximum"] = len(names) - 1
    schemas["Class"]["example"] = {"class_name": names[-1], "label": len(names) - 1, "probability": 0.9998}
    every = schemas["Prediction"]["properties"]["predictions"]["properties"]["all"]
    every |= {"minItems": len(names), "maxItems": len(names)}
    details = schemas["Details"]
    details["properties"]["image_seen"]["description"] += f" It has {model.side} by {model.side} pixels."
    if not model.judged:
        details["required"].remove("verdict")
        del details["properties"]["verdict"]
