"""The running service held against its own OpenAPI document, by requests that schemathesis makes up from it."""

import json
import warnings
from http.client import HTTPConnection

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

BASE = "http://127.0.0.1"
OPERATIONS = (
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/api/mnist"),
    ("POST", "/api/mnist/batch"),
)


@pytest.fixture(scope="session")
def document(service):
    status, _, body = service.get("/openapi.json")
    assert status == 200
    return json.loads(body)


def answer_to(case, port) -> Response:
    """Sends a case on a connection of its own: what http.client refuses to send is no case."""
    kwargs = {
        name: value for name, value in case.as_transport_kwargs(base_url=BASE).items() if name != "allow_redirects"
    }
    prepared = requests.Request(**{name: value for name, value in kwargs.items() if name in REQUEST}).prepare()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(prepared.method, prepared.path_url, prepared.body, dict(prepared.headers))
    got = connection.getresponse()
    headers: dict[str, list[str]] = {}
    for name, value in got.getheaders():
        headers.setdefault(name, []).append(value)
    content = got.read()
    connection.close()
    return Response(
        status_code=got.status, headers=headers, content=content, request=prepared, elapsed=0.0, verify=False,
        message=got.reason, encoding="utf-8", http_version="1.1",
    )  # fmt: skip


REQUEST = ("method", "url", "headers", "files", "data", "params", "json", "cookies")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_generated_requests_are_answered_as_the_document_says(document, service, method, path):
    operation = schemathesis.openapi.from_dict(document)[path][method]

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data):
        case = data.draw(operation.as_strategy())
        response = answer_to(case, service.port)
        assert response.status_code < 500
        case.validate_response(response, excluded_checks=[positive_data_acceptance])  # no schema says what a picture is

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        holds()


def test_every_operation_is_tried(document):
    told = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert told <= set(OPERATIONS) | {("GET", path) for path in ("/", "/docs", "/openapi.json")}


def test_a_document_that_forgets_the_errors_is_noticed(document, service):
    forgetful = json.loads(json.dumps(document))
    operation = forgetful["paths"]["/api/mnist"]["post"]
    operation["responses"] = {"200": operation["responses"]["200"]}
    case = schemathesis.openapi.from_dict(forgetful)["/api/mnist"]["POST"].Case(
        media_type="image/png", body=b"no picture"
    )
    with pytest.raises(FailureGroup):
        case.validate_response(answer_to(case, service.port))
