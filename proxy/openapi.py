"""The OpenAPI document: openapi.json beside this file, with the limits of the settings and every error filled in.

Statuses, codes, messages and headers of the errors come from the classes that are raised.
"""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from proxy import VERSION, errors
from proxy.app import Endpoint
from proxy.errors import PictureError, ServiceError
from proxy.request import Request, Response
from proxy.settings import MIB, Settings

TEMPLATE = Path(__file__).with_name("openapi.json")
HEADERS = {"retry-after": ("Retry-After", "retryAfter"), "www-authenticate": ("WWW-Authenticate", "challenge")}
SEND = "send a PNG, JPEG, WebP, GIF, BMP or TIFF picture."
OF_PICTURES = (  # the only errors whose classes travel in the archive
    PictureError(400, "empty_image", f"The image is empty: {SEND}"),
    PictureError(413, "image_too_large", "The image has more than 40000000 pixels: send a smaller one."),
    PictureError(422, "undecodable_image", f"The image cannot be read: {SEND}"),
)
OF_UPLOADS = (
    *(errors.MalformedMultipart(), errors.MissingImage(), errors.ClientTooSlow(), errors.UnsupportedMediaType()),
    *(errors.Unauthorized(), errors.Overloaded(), errors.NotReady()),
    *(errors.ModelServerError(), errors.DeadlineExceeded(), errors.InternalError()),
)


def routes(settings: Settings) -> dict[str, dict[str, Endpoint]]:
    """GET /openapi.json."""
    response = Response(200, json.dumps(document(settings), ensure_ascii=False).encode())

    async def endpoint(request: Request) -> Response:
        return response

    return {"/openapi.json": {"GET": endpoint}}


def document(settings: Settings) -> dict[str, Any]:
    """OpenAPI 3.1, as a dict that JSON can hold."""
    bodies = {"max_body": settings.max_body_bytes, "max_batch": settings.max_batch_bytes}
    limits = {name: f"{size / MIB:g} MiB" for name, size in bodies.items()}
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    found: dict[str, Any] = json.loads(
        template.substitute(limits, max_images=settings.max_batch_images, version=VERSION)
    )
    for (path, method), failures in _failures(settings).items():
        operation = found["paths"][path][method]
        operation["responses"] |= _responses(failures)
        if path.startswith("/api/"):
            operation["security"] = [{"bearer": []}, {"key": []}] if settings.api_keys else [{}]
    return found


def _failures(settings: Settings) -> dict[tuple[str, str], tuple[ServiceError, ...]]:
    """What each operation can fail with."""
    one = errors.SeveralImages(), errors.BodyTooLarge(settings.max_body_bytes), *OF_PICTURES
    many = errors.BodyTooLarge(settings.max_batch_bytes), errors.TooManyImages(settings.max_batch_images)
    return {
        ("/api/mnist", "post"): OF_UPLOADS + one,
        ("/api/mnist/batch", "post"): OF_UPLOADS + many,
        ("/readyz", "get"): (errors.NotReady(),),
    }


def _responses(failures: Sequence[ServiceError]) -> dict[str, Any]:
    """Responses by status."""
    ordered = sorted(failures, key=lambda error: (error.status, error.code))
    return {str(status): _response(list(group)) for status, group in groupby(ordered, lambda error: error.status)}


def _response(failures: Sequence[ServiceError]) -> dict[str, Any]:
    """One status, whose errors are told apart by their codes."""
    names = {name for error in failures for name, _ in error.headers}
    headers = {"X-Request-Id": _ref("headers", "requestId")}
    headers |= {HEADERS[name][0]: _ref("headers", HEADERS[name][1]) for name in sorted(names)}
    examples = {error.code: {"value": json.loads(error.body("4b691ce0c86c64ef"))} for error in failures}
    return {
        "description": " or ".join(f"`{error.code}`" for error in failures),
        "headers": headers,
        "content": {"application/json": {"schema": _ref("schemas", "Error"), "examples": examples}},
    }


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
