"""Every way a request can fail, as the client sees it: a status, a code and one plain sentence.

ServiceError
├── BadUpload           the upload's form: 400, 408, 413, 415
├── PictureError        one picture's own fault, named by the handler: 400, 413, 422
├── Refusal             not now: 401, 404, 405, 503
└── ModelServerError    TorchServe's side: 502, 504
InternalError           anything else: 500, generic to the client, the trace goes to the log
"""

import json
from functools import lru_cache

_quoted = lru_cache(1024)(lambda text: json.dumps(text).encode())


class ServiceError(Exception):
    """A failure with a status, a code of the public contract and a sentence that says what to do."""

    status = 500
    code = "internal_error"
    message = "Something went wrong on our side; the request id helps us find it."
    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message

    def body(self, request_id: str) -> bytes:
        """The error body, JSON in UTF-8."""
        return b'{"success": false, "error": {"code": "%b", "message": %b, "request_id": "%b"}}' % (
            self.code.encode(),
            _quoted(self.message),
            request_id.encode(),
        )


class InternalError(ServiceError):
    pass


class BadUpload(ServiceError):
    status = 400


class MalformedMultipart(BadUpload):
    code = "malformed_multipart"
    message = (
        "The body is not valid multipart/form-data; let your HTTP client build it, as `curl -F image=@7.png` does."
    )


class MissingImage(BadUpload):
    code = "missing_image"
    message = "Send the picture as a file part named `image`, as `curl -F image=@7.png` does."


class SeveralImages(BadUpload):
    code = "several_images"
    message = "Send one picture a request, or send several to /api/mnist/batch."


class EmptyImage(BadUpload):
    code = "empty_image"
    message = "The picture holds no bytes; choose a file that is not empty."


class ClientTooSlow(BadUpload):
    status = 408
    code = "client_too_slow"
    message = "The body did not arrive in time; try again on a faster connection or with a smaller picture."


class BodyTooLarge(BadUpload):
    status = 413
    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"An upload may have at most {limit / 1024 / 1024:g} MiB; send a smaller picture.")


class TooManyImages(BadUpload):
    status = 413
    code = "too_many_images"

    def __init__(self, most: int) -> None:
        super().__init__(f"Send at most {most} pictures in one request.")


class UnsupportedMediaType(BadUpload):
    status = 415
    code = "unsupported_media_type"
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
    code = "unauthorized"
    message = "Send a valid API key, as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
    headers = (("www-authenticate", "Bearer"),)


class NotFound(Refusal):
    status = 404
    code = "not_found"
    message = "No such path; pictures go to POST /api/mnist."


class MethodNotAllowed(Refusal):
    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"This path answers to {allowed}.")
        self.headers = (("allow", allowed),)


class Overloaded(Refusal):
    code = "overloaded"
    message = "Too many pictures are waiting; try again in a second."
    headers = (("retry-after", "1"),)


class NotReady(Refusal):
    code = "not_ready"
    message = "The service is starting or stopping; try again in two seconds."
    headers = (("retry-after", "2"),)


class ModelServerError(ServiceError):
    status = 502
    code = "model_server_error"
    message = "The model server failed on this request; try again."


class DeadlineExceeded(ModelServerError):
    status = 504
    code = "deadline_exceeded"
    message = "The prediction took too long; try again, or send a smaller picture."
