"""A gate in front of the API: one of the configured keys must come with each call.

Every key is compared, each in constant time, so that how long a refusal takes tells nothing about any of them.
"""

import hmac
from collections.abc import Sequence

from proxy.errors import Unauthorized
from proxy.request import Request


class Keys:
    """The gate.

    Args:
        keys: each of them opens.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def __call__(self, request: Request) -> None:
        """Let the request pass, or raise Unauthorized."""
        offered = _offered(request)
        if not sum([hmac.compare_digest(offered, key) for key in self._keys]):
            raise Unauthorized()


def _offered(request: Request) -> bytes:
    """What comes as `Authorization: Bearer <key>` or `X-API-Key: <key>`."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return str(credentials.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")).encode()
