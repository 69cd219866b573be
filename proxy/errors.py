"""Every way a request can fail, as the client sees it: a status, a code and one plain sentence.

ServiceError
├── BadRequest          the request itself: 400, 408, 413, 415
├── ImageError          one image's own fault, named by the handler: 400, 413, 422
├── Refusal             not served: 401, 404, 405, 503
├── ModelServerError    TorchServe failed: 502
├── DeadlineExceeded    queue and inference took too long: 504
└── InternalError       a bug: 500, generic to the client, the trace goes to the log

The code of the public contract is the class's name in snake case: MissingImage is `missing_image`.
"""

import json
import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache

quoted = lru_cache(1024)(json.dumps)  # text as JSON


class Cause(Enum):
    """Why a request was refused, for operators: a label of the metrics and a field of the access log."""

    NONE = ""
    SMALL_QUEUE_FULL = "small_queue_full"
    LARGE_QUEUE_FULL = "large_queue_full"
    ISOLATED_QUEUE_FULL = "isolated_queue_full"
    BUFFER_FULL = "buffer_full"
    STARTING = "starting"
    TORCHSERVE_UNREACHABLE = "torchserve_unreachable"
    DRAINING = "draining"


class ServiceError(Exception):
    """A failure with a status, a code and a sentence that says what to do."""

    status = 500
    cause = Cause.NONE
    closes_connection = False  # True where the bytes that follow on the connection may not be a request
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"\B(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.message
        super().__init__(self.message)

    def body(self, request_id: str) -> bytes:
        """The error body, JSON in UTF-8."""
        error = f'{{"code": "{self.code}", "message": {quoted(self.message)}, "request_id": "{request_id}"}}'
        return f'{{"success": false, "error": {error}}}'.encode()


class InternalError(ServiceError):
    message = "Something went wrong on our side; the request id helps us find it."


class BadRequest(ServiceError):
    """The request is malformed or over a limit."""

    status = 400


class BadHeader(BadRequest):
    message = "Send exactly one Host header, and no Transfer-Encoding but `chunked` once."
    closes_connection = True


class BadParameter(BadRequest):
    message = "The query parameter `details` takes 1, true or yes, or else 0, false or no."


class MalformedMultipart(BadRequest):
    message = "The body is no valid multipart/form-data; let an HTTP client build it, as `curl -F image=@7.png` does."


class MissingImage(BadRequest):
    message = "Send the image as a file part named `image`, as `curl -F image=@7.png` does."

    def __init__(self, found: Sequence[str]) -> None:
        """`found` names the parts that came instead, of which the first ten are repeated."""
        more = [f"{len(found) - 10} more"] if len(found) > 10 else []
        super().__init__(f"{self.message} This form has {', '.join([*found[:10], *more]) or 'no parts'}.")


class SeveralImages(BadRequest):
    message = "Send one image per request, or send several to /api/mnist/batch."


class ClientTooSlow(BadRequest):
    status = 408
    closes_connection = True
    message = "The body stalled on its way; try again on a steadier connection or with a smaller image."


class BodyTooLarge(BadRequest):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"An upload may have at most {limit / 1024 / 1024:g} MiB; send a smaller image.")


class TooManyImages(BadRequest):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"Send at most {limit} images in one request.")


class UnsupportedMediaType(BadRequest):
    status = 415
    message = "Send multipart/form-data or a raw body of type image/*, without Content-Encoding."


class ImageError(ServiceError):
    """One image's fault; status, code and sentence come from the handler, the only part that decodes images."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Refusal(ServiceError):
    """The request is well-formed but not served; `cause` tells operators why."""

    status = 503

    def __init__(self, cause: Cause = Cause.NONE, message: str | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class Unauthorized(Refusal):
    status = 401
    message = "Send a valid API key, as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
    headers = (("www-authenticate", "Bearer"),)


class NotFound(Refusal):
    status = 404
    message = "No such path; images go to POST /api/mnist."


class MethodNotAllowed(Refusal):
    status = 405

    def __init__(self, allowed: str) -> None:
        super().__init__(message=f"This path answers to {allowed}.")
        self.headers = (("allow", allowed),)


class Overloaded(Refusal):
    message = "Too many images are waiting; try again in a second."
    headers = (("retry-after", "1"),)


class NotReady(Refusal):
    message = "The service is starting or stopping; try again in two seconds."
    headers = (("retry-after", "2"),)


class ModelServerError(ServiceError):
    status = 502
    message = "The model server failed on this request; try again."


class DeadlineExceeded(ServiceError):
    status = 504
    message = "The prediction took too long; try again, or send a smaller image."
