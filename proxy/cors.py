"""Cross-origin resource sharing: which pages may call the API and read its answers (https://fetch.spec.whatwg.org)."""

from collections.abc import Mapping

from proxy.request import Endpoint, Headers, Request, Response, Routes

ALLOWED_HEADERS = "Content-Type, X-Request-Id, X-API-Key, Authorization, Traceparent"
EXPOSED_HEADERS = "X-Request-Id, Retry-After"


class Cors:
    """Adds preflights and headers.

    Args:
        origins: origins whose pages may read the answers; ("*",) for all.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)
        self._open = self._granted("*") if "*" in origins else None

    def headers(self, request: Mapping[str, str]) -> Headers:
        """What to add to the response to a request with these headers."""
        if self._open:
            return self._open
        origin = request.get("origin")
        return (("vary", "Origin"), *(self._granted(origin) if origin in self._origins else ()))

    def completed(self, routes: Routes) -> Routes:
        """The routes with HEAD where GET is, whose body the application leaves out, and with preflights."""
        return {path: self._completed(methods) for path, methods in routes.items()}

    def _completed(self, methods: Mapping[str, Endpoint]) -> Mapping[str, Endpoint]:
        head = {"HEAD": methods["GET"]} if "GET" in methods else {}
        allowed = ", ".join((*methods, *head, "OPTIONS"))
        grants = ("access-control-allow-methods", allowed), ("access-control-allow-headers", ALLOWED_HEADERS)
        response = Response(204, b"", (("allow", allowed), *grants, ("access-control-max-age", "86400")))

        async def preflight(request: Request) -> Response:
            return response

        return {**methods, **head, "OPTIONS": preflight}

    def _granted(self, origin: str) -> Headers:
        return ("access-control-allow-origin", origin), ("access-control-expose-headers", EXPOSED_HEADERS)
