"""GET /openapi.json: openapi.json beside this file, with the limits of the settings filled in.

What it says of errors is what the code raises: tests/test_openapi.py compares statuses, codes, messages and headers.
"""

import json
from pathlib import Path
from string import Template

from proxy import VERSION
from proxy.settings import MIB, Settings

TEMPLATE = Path(__file__).with_name("openapi.json")


def document(settings: Settings) -> str:
    """OpenAPI 3.1, as JSON."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        version=VERSION,
        max_body=f"{settings.max_body_bytes / MIB:g} MiB",
        max_batch=f"{settings.max_batch_bytes / MIB:g} MiB",
        max_images=settings.max_batch_images,
        security=json.dumps([{"bearer": []}, {"key": []}] if settings.api_keys else [{}]),
    )
