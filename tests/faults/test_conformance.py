"""The running service held against its own OpenAPI document, by requests that schemathesis makes up from it."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.core.failures import FailureGroup


@pytest.fixture(scope="session")
def document(own_stack):
    status, _, body = own_stack.get("/openapi.json")
    assert status == 200
    return json.loads(body)


@pytest.fixture
def api(document, own_stack):
    return schemathesis.openapi.from_dict(document)


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_of_the_document_is_answered_otherwise_than_it_says(case, own_stack):
    response = case.call(base_url=f"http://127.0.0.1:{own_stack.port}", timeout=30)
    assert response.status_code < 500
    case.validate_response(response)


def test_the_check_is_one(document, own_stack):
    """Without the errors in the document the same check fails."""
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"] = {"200": {"description": "all there is"}}
    operation = schemathesis.openapi.from_dict(document)["/api/mnist"]["POST"]
    response = operation.Case(media_type="multipart/form-data", body={}).call(
        base_url=f"http://127.0.0.1:{own_stack.port}"
    )
    with pytest.raises(FailureGroup):
        operation.Case().validate_response(response)
