"""The OpenAPI document: valid, and saying what the code does."""

import json
from pathlib import Path

import openapi_spec_validator
import pytest

import decode
from proxy import VERSION, errors, openapi
from proxy.settings import Settings

DOCUMENT = openapi.document(Settings())


def operations():
    return [(path, method, about) for path, item in DOCUMENT["paths"].items() for method, about in item.items()]


def documented(path, method="post"):
    """(status, code) -> message of each error that an operation is said to give."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    return {
        (int(status), code): example["value"]["error"]["message"]
        for status, response in responses.items()
        for code, example in response["content"].get("application/json", {}).get("examples", {}).items()
    }


def concrete(kind):
    own = [kind] if "code" in vars(kind) and kind is not errors.ServiceError else []
    return [*own, *(found for below in kind.__subclasses__() for found in concrete(below))]


def test_it_is_valid():
    openapi_spec_validator.validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == VERSION


def test_every_error_of_the_code_is_documented_with_its_status():
    everywhere = {key for path, method, _ in operations() for key in documented(path, method)}
    # what a path that is not in the document says
    elsewhere = {(404, "not_found"), (405, "method_not_allowed")}
    assert everywhere | elsewhere >= {(kind.status, kind.code) for kind in concrete(errors.ServiceError)}
    assert (500, "internal_error") in everywhere


def test_messages_are_those_that_are_sent():
    found = documented("/api/mnist")
    assert found[415, "unsupported_media_type"] == errors.UnsupportedMediaType.message
    assert found[413, "body_too_large"] == errors.BodyTooLarge(Settings().max_body_bytes).message
    batch = documented("/api/mnist/batch")
    assert batch[413, "too_many_images"] == errors.TooManyImages(256).message
    assert batch[413, "body_too_large"] == errors.BodyTooLarge(Settings().max_batch_bytes).message
    assert batch[413, "body_too_large"] != found[413, "body_too_large"]


def test_errors_of_pictures_are_the_handlers_own():
    def said(data, limit=decode.MAX_PIXELS):
        with pytest.raises(decode.PictureError) as raised:
            decode.decode(data, limit)
        return raised.value

    picture = Path("samples/7.png").read_bytes()
    empty, large, broken = said(b""), said(picture, 100), said(b"GIF, not")
    expected = {(error.status, error.code): error.message for error in (empty, large, broken)}
    expected[413, "image_too_large"] = large.message.replace("100", str(decode.MAX_PIXELS))
    found = documented("/api/mnist")
    assert {key: found[key] for key in expected} == expected


def test_a_refusal_says_when_to_come_back():
    for path in ("/api/mnist", "/api/mnist/batch", "/readyz"):
        method = "get" if path == "/readyz" else "post"
        assert "Retry-After" in DOCUMENT["paths"][path][method]["responses"]["503"]["headers"]
    assert "WWW-Authenticate" in DOCUMENT["paths"]["/api/mnist"]["post"]["responses"]["401"]["headers"]


def test_limits_follow_the_settings():
    told = json.dumps(openapi.document(Settings(max_body_bytes=3 * 2**20, max_batch_images=17)))
    assert "At most 3 MiB" in told
    assert "at most 17 pictures" in told
    assert '"maxItems": 17' in told


def test_keys_are_asked_for_only_where_they_are_configured():
    locked = openapi.document(Settings(api_keys=("secret",)))["paths"]
    assert locked["/api/mnist"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert "security" not in locked["/livez"]["get"]
    assert DOCUMENT["paths"]["/api/mnist"]["post"]["security"] == [{}]
    assert "secret" not in json.dumps(locked)
