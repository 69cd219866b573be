"""API keys: which calls pass the gate, which do not, and that all keys are compared."""

import hmac

import pytest
from proxy.keys import Keys
from proxy.request import Request

from proxy.errors import Unauthorized
from proxy.settings import BadSetting, from_environment
from tests.exchanges import exchange_of


def request(path="/api/mnist", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(exchange_of(path=path, headers=named))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first"},
        {"authorization": "bearer second"},
        {"x_api_key": "second"},
        {"x_api_key": "first", "authorization": "Basic Zm9vOmJhcg=="},
        {"x_api_key": "schlüssel"},
    ],
)
def test_any_of_the_keys_opens(headers):
    Keys(["first", "second", "schlüssel"])(request(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic first"},
        {"authorization": "first"},
        {"x_api_key": ""},
        {"x_api_key": "firs"},
        {"x_api_key": "firstsecond"},
        {"x_api_key": "First"},
        {"x_api_key": "é"},
    ],
)
@pytest.mark.parametrize("path", ["/api/mnist", "/api/mnist/batch"])
def test_nothing_else_opens(headers, path):
    with pytest.raises(Unauthorized) as refusal:
        Keys(["first", "second"])(request(path, **headers))
    assert refusal.value.status == 401
    assert ("www-authenticate", "Bearer") in refusal.value.headers


def test_every_key_is_compared_in_constant_time(monkeypatch):
    compared, compare = [], hmac.compare_digest

    def watched(offered, key):
        compared.append(key)
        return compare(offered, key)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    Keys(["first", "second", "third"])(request(x_api_key="first"))
    assert compared == [b"first", b"second", b"third"]


def test_keys_come_from_the_environment():
    assert from_environment({}).api_keys == ()
    assert from_environment({"API_KEYS": ""}).api_keys == ()
    assert from_environment({"API_KEYS": "one, two"}).api_keys == ("one", "two")


def test_keys_that_are_none_are_refused_instead_of_leaving_the_api_open():
    with pytest.raises(BadSetting, match="API_KEYS"):
        from_environment({"API_KEYS": " , "})
