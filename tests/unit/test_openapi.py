"""The OpenAPI document: valid, and consistent with the code."""

import json
from pathlib import Path

import openapi_spec_validator
import pytest

import decode
from proxy import VERSION, errors, page
from proxy.settings import Settings

CLOTHES = page.Model("clothes", "piece of clothing", ("coat", "bag", "boot"), (), 28, judged=False)


def document(model=None, **settings):
    return json.loads(page.document(Settings(**settings), model))


DOCUMENT = document()
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]
UPLOADS = ("/api/mnist", "/api/mnist/batch")


def responses(path, method="post"):
    """status -> response."""
    shared = DOCUMENT["components"]["responses"]
    found = DOCUMENT["paths"][path][method]["responses"]
    return {
        int(status): shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
        for status, response in found.items()
    }


def examples(response):
    """code -> error body."""
    told = response["content"].get("application/json", {}).get("examples", {})
    return {code: example["value"] for code, example in told.items()}


def documented(path, method="post"):
    """(status, code) -> message of each error of an operation."""
    return {
        (status, code): body["error"]["message"]
        for status, response in responses(path, method).items()
        for code, body in examples(response).items()
    }


def concrete(kind=errors.ServiceError):
    """The errors that the proxy itself raises, without the classes that only group others."""
    grouping = (errors.ServiceError, errors.BadRequest, errors.Refusal, errors.ImageError)
    own = [] if kind in grouping else [kind]
    return [*own, *(found for below in kind.__subclasses__() for found in concrete(below))]


def test_the_document_is_valid():
    for found in (DOCUMENT, document(api_keys=("secret",)), document(CLOTHES)):
        openapi_spec_validator.validate(found)
        assert found["openapi"] == "3.1.0"
        assert found["info"]["version"] == VERSION


def test_every_error_of_the_code_is_documented_with_its_status():
    everywhere = {key for operation in OPERATIONS for key in documented(*operation)}
    # responses to requests for which there is no operation
    elsewhere = {
        (400, "bad_header"),
        (404, "not_found"),
        (405, "method_not_allowed"),
    }
    raised = {(kind.status, kind.code) for kind in concrete()}
    handler = {(400, "empty_image"), (413, "image_too_large"), (422, "undecodable_image")}
    assert everywhere | elsewhere == raised | handler


def limits(path):
    """The errors whose message contains a limit."""
    one, batch = errors.BodyTooLarge(Settings().max_body_bytes), errors.BodyTooLarge(Settings().max_batch_bytes)
    return {"/api/mnist": [one], "/api/mnist/batch": [batch, errors.TooManyImages(256)]}.get(path, [])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_statuses_messages_and_headers_equal_those_of_the_code(operation):
    path = operation[0]
    known = {(kind.status, kind.code): kind for kind in concrete()}
    known |= {(error.status, error.code): error for error in limits(path)}
    found = documented(*operation)
    for key in found.keys() & known.keys():
        assert found[key] == known[key].message
        headers = {name.lower() for name in responses(*operation)[key[0]]["headers"]}
        assert {name for name, _ in known[key].headers} <= headers
    assert found.keys() >= {(error.status, error.code) for error in limits(path)}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_example_is_a_complete_error_body(operation):
    for response in responses(*operation).values():
        for code, body in examples(response).items():
            error = errors.ImageError(400, code, body["error"]["message"])
            assert json.loads(error.body(body["error"]["request_id"])) == body


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_response_explains_its_codes_and_carries_a_request_id(operation):
    for response in responses(*operation).values():
        assert "X-Request-Id" in response["headers"]
        for code in examples(response):
            assert f"`{code}`: " in response["description"]


def test_errors_of_images_equal_those_of_the_handler():
    def raised_for(data, limit=decode.MAX_PIXELS):
        with pytest.raises(decode.PictureError) as raised:
            decode.decode(data, limit)
        return raised.value

    image = Path("samples/7.png").read_bytes()
    empty, large, broken = raised_for(b""), raised_for(image, 100), raised_for(b"GIF, not")
    expected = {(error.status, error.code): error.message for error in (empty, large, broken)}
    expected[413, "image_too_large"] = large.message.replace("100", str(decode.MAX_PIXELS))
    found = documented("/api/mnist")
    assert {key: found[key] for key in expected} == expected


def test_headers_of_refusals():
    for path, method in (*((path, "post") for path in UPLOADS), ("/readyz", "get")):
        assert "Retry-After" in responses(path, method)[503]["headers"]
    for path in UPLOADS:
        assert "WWW-Authenticate" in responses(path)[401]["headers"]


@pytest.mark.parametrize("path", UPLOADS)
def test_details_is_a_parameter_of_both_uploads(path):
    references = {entry["$ref"] for entry in DOCUMENT["paths"][path]["post"]["parameters"]}
    assert "#/components/parameters/details" in references
    assert DOCUMENT["components"]["parameters"]["details"]["schema"]["enum"] == ["1", "true", "yes", "0", "false", "no"]


def test_limits_follow_the_settings():
    text = json.dumps(document(max_body_bytes=3 * 2**20, max_batch_bytes=5 * 2**20, max_batch_images=17))
    assert "at most 3 MiB" in text
    assert "5 MiB in all" in text
    assert "up to 17 file parts" in text
    assert '"maxItems": 17' in text
    assert errors.TooManyImages(17).message in text


def test_classes_and_verdict_follow_the_model():
    schemas = document(CLOTHES)["components"]["schemas"]
    assert schemas["Class"]["properties"]["class_name"]["enum"] == ["coat", "bag", "boot"]
    assert schemas["Class"]["properties"]["label"]["maximum"] == 2
    every = schemas["Prediction"]["properties"]["predictions"]["properties"]["all"]
    assert (every["minItems"], every["maxItems"]) == (3, 3)
    assert "verdict" not in (*schemas["Details"]["properties"], *schemas["Details"]["required"])
    judged = document(CLOTHES._replace(judged=True))["components"]["schemas"]["Details"]
    assert "verdict" in judged["required"]
    assert "enum" not in DOCUMENT["components"]["schemas"]["Class"]["properties"]["class_name"]


def test_security_is_declared_only_where_keys_are_configured():
    locked = document(api_keys=("secret",))
    for path in UPLOADS:
        assert locked["paths"][path]["post"]["security"] == [{"bearer": []}, {"key": []}]
        assert DOCUMENT["paths"][path]["post"]["security"] == []
    assert locked["components"]["securitySchemes"].keys() == {"bearer", "key"}
    assert "securitySchemes" not in DOCUMENT["components"]
    assert "security" not in locked["paths"]["/livez"]["get"]
    assert "secret" not in json.dumps(locked)
