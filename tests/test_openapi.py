"""The OpenAPI document: valid, and saying what the code does."""

import json
from pathlib import Path

import openapi_spec_validator
import pytest

import decode
from proxy import VERSION, errors, openapi
from proxy.settings import Settings


def document(**settings):
    return json.loads(openapi.document(Settings(**settings)))


DOCUMENT = document()
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]


def responses(path, method="post"):
    """status -> response."""
    shared = DOCUMENT["components"]["responses"]
    found = DOCUMENT["paths"][path][method]["responses"]
    return {
        int(status): shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
        for status, response in found.items()
    }


def documented(path, method="post"):
    """(status, code) -> message of each error that an operation is said to give."""
    return {
        (status, code): example["value"]["error"]["message"]
        for status, response in responses(path, method).items()
        for code, example in response["content"].get("application/json", {}).get("examples", {}).items()
    }


def concrete(kind=errors.ServiceError):
    """The classes of errors that are raised by the proxy itself, without those that only group others."""
    grouping = (errors.ServiceError, errors.BadUpload, errors.Refusal, errors.PictureError)
    own = [] if kind in grouping else [kind]
    return [*own, *(found for below in kind.__subclasses__() for found in concrete(below))]


def test_it_is_valid():
    openapi_spec_validator.validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == VERSION


def test_every_error_of_the_code_is_documented_with_its_status():
    everywhere = {key for operation in OPERATIONS for key in documented(*operation)}
    # what a path that is not in the document says
    elsewhere = {(404, "not_found"), (405, "method_not_allowed")}
    raised = {(kind.status, kind.code) for kind in concrete()}
    assert everywhere | elsewhere == raised | {
        (400, "empty_image"),
        (413, "image_too_large"),
        (422, "undecodable_image"),
    }


def sent(path):
    """The errors of the proxy itself whose message has limits in it."""
    one, batch = errors.BodyTooLarge(Settings().max_body_bytes), errors.BodyTooLarge(Settings().max_batch_bytes)
    return (batch, errors.TooManyImages(256)) if path.endswith("batch") else (one,)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_messages_and_headers_are_those_that_are_sent(operation):
    path = operation[0]
    fixed = {(kind.status, kind.code): kind for kind in concrete()}
    known = fixed | {(error.status, error.code): error for error in sent(path)}
    found = documented(*operation)
    for key in found.keys() & known.keys():
        assert found[key] == known[key].message
        headers = {name.lower() for name in responses(*operation)[key[0]]["headers"]}
        assert {name for name, _ in known[key].headers} <= headers
    assert found.keys() >= {(error.status, error.code) for error in sent(path)} or not path.startswith("/api/")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_examples_are_bodies_that_are_sent(operation):
    for response in responses(*operation).values():
        told = response["content"].get("application/json", {}).get("examples", {})
        for code, example in told.items():
            error = errors.PictureError(400, code, example["value"]["error"]["message"])
            assert json.loads(error.body("4b691ce0c86c64ef")) == example["value"]
        assert response["description"] == " or ".join(f"`{code}`" for code in told) or not told


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
        assert "Retry-After" in responses(path, method)[503]["headers"]
    assert "WWW-Authenticate" in responses("/api/mnist")[401]["headers"]


def test_limits_follow_the_settings():
    told = json.dumps(document(max_body_bytes=3 * 2**20, max_batch_images=17))
    assert "At most 3 MiB" in told
    assert "at most 17 pictures" in told
    assert '"maxItems": 17' in told


def test_keys_are_asked_for_only_where_they_are_configured():
    locked = document(api_keys=("secret",))["paths"]
    assert locked["/api/mnist"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert "security" not in locked["/livez"]["get"]
    assert DOCUMENT["paths"]["/api/mnist"]["post"]["security"] == [{}]
    assert "secret" not in json.dumps(locked)
