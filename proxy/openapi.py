"""GET /openapi.json: the template openapi.json beside this file, completed with limits, error messages and security.

tests/test_openapi.py compares the document with the errors that the code raises.
"""

import json
from pathlib import Path
from string import Template

from proxy import VERSION, errors
from proxy.settings import MIB, Settings

TEMPLATE = Path(__file__).with_name("openapi.json")
FIXED = (
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


def document(settings: Settings) -> str:
    """OpenAPI 3.1, as JSON. Security schemes are declared only where API keys are configured."""
    messages = {error.code: error.message for error in FIXED} | {
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
