"""Every way a request can fail, as the client sees it: a status, a code and one plain sentence.

ServiceError
├── BadUpload           the upload's form: 400, 408, 413, 415
├── PictureError        one picture's own fault, named by the handler: 400, 413, 422
├── Refusal             not now: 401, 404, 405, 503
├── ModelServerError    TorchServe's side: 502
├── DeadlineExceeded    queue and inference took too long: 504
└── InternalError       anything else: 500, generic to the client, the trace goes to the log

The code of the public contract is the class's name: MissingImage is `missing_image`.
"""

import json
import re
from functools import lru_cache

_quoted = lru_cache(1024)(json.dumps)


class ServiceError(Exception):
    """A failure with a status, a code and a sentence that says what to do."""

    status = 500
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"\B(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message

    def body(self, request_id: str) -> bytes:
        """The error body, JSON in UTF-8."""
        error = f'{{"code": "{self.code}", "message": {_quoted(self.message)}, "request_id": "{request_id}"}}'
        return f'{{"success": false, "error": {error}}}'.encode()


class InternalError(ServiceError):
    message = "Something went wrong on our side; the request id helps us find it."


class BadUpload(ServiceError):
    status = 400


class MalformedMultipart(BadUpload):
    message = "The body is no valid multipart/form-data; let an HTTP client build it, as `curl -F image=@7.png` does."


class MissingImage(BadUpload):
    message = "Send the picture as a file part named `image`, as `curl -F image=@7.png` does."


class SeveralImages(BadUpload):
    message = "Send one picture a request, or send several to /api/mnist/batch."


class ClientTooSlow(BadUpload):
    status = 408
    message = "The body did not arrive in time; try again on a faster connection or with a smaller picture."


class BodyTooLarge(BadUpload):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"An upload may have at most {limit / 1024 / 1024:g} MiB; send a smaller picture.")


class TooManyImages(BadUpload):
    status = 413

    def __init__(self, most: int) -> None:
        super().__init__(f"Send at most {most} pictures in one request.")


class UnsupportedMediaType(BadUpload):
    status = 415
    message = "Send multipart/form-data or a raw body of type image/*, without Content-Encoding."


class PictureError(ServiceError):
    """One picture's fault; status, code and sentence come from the handler, the only part that looks into pictures."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Refusal(ServiceError):
    status = 503


class Unauthorized(Refusal):
    status = 401
    message = "Send a valid API key, as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
    headers = (("www-authenticate", "Bearer"),)


class NotFound(Refusal):
    status = 404
    message = "No such path; pictures go to POST /api/mnist."


class MethodNotAllowed(Refusal):
    status = 405

    def __init__(self, allowed: str) -> None:
        super().__init__(f"This path answers to {allowed}.")
        self.headers = (("allow", allowed),)


class Overloaded(Refusal):
    message = "Too many pictures are waiting; try again in a second."
    headers = (("retry-after", "1"),)


class NotReady(Refusal):
    message = "The service is starting or stopping; try again in two seconds."
    headers = (("retry-after", "2"),)


class ModelServerError(ServiceError):
    status = 502
    message = "The model server failed on this request; try again."


class DeadlineExceeded(ServiceError):
    status = 504
    message = "The prediction took too long; try again, or send a smaller picture."
