"""Cross-origin resource sharing: which pages may call the API and read its answers (https://fetch.spec.whatwg.org)."""

from proxy.request import Headers, Request, Response

ALLOWED_HEADERS = "Content-Type, X-Request-Id, X-API-Key, Authorization, Traceparent"
EXPOSED_HEADERS = "X-Request-Id, Retry-After"


class Cors:
    """Answers preflights and adds headers.

    Args:
        origins: origins whose pages may read the answers; ("*",) for all.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)
        self._open = self._granted("*") if "*" in origins else None

    def headers(self, request: Request) -> Headers:
        """What to add to the response to `request`."""
        if self._open:
            return self._open
        origin = request.headers.get("origin")
        return (("vary", "Origin"), *(self._granted(origin) if origin in self._origins else ()))

    def preflight(self, allowed: str) -> Response:
        """The response to OPTIONS for a path that answers to the `allowed` methods."""
        grants = ("access-control-allow-methods", allowed), ("access-control-allow-headers", ALLOWED_HEADERS)
        return Response(204, b"", (("allow", allowed), *grants, ("access-control-max-age", "86400")))

    def _granted(self, origin: str) -> Headers:
        return ("access-control-allow-origin", origin), ("access-control-expose-headers", EXPOSED_HEADERS)
