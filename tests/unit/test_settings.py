"""Settings: parsed once, frozen, loud about what cannot be used; one table tells them all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.settings import RENAMED, BadSetting, Settings, from_environment, origin, table

ROOT = Path(__file__).parents[2]
NAMES = [name.upper() for name in Settings.model_fields]


def proxy(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_setting_can_be_left_out():
    assert from_environment({}) == Settings()


def test_values_come_from_the_environment_and_stay():
    settings = from_environment({"PORT": "4500", "BATCH_SIZE": "1", "DEADLINE_SECONDS": "2.5", "API_KEYS": "a, b"})
    assert (settings.port, settings.batch_size, settings.deadline_seconds) == (4500, 1, 2.5)
    assert settings.api_keys == ("a", "b")
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "3001x"),
        ("PORT", ""),
        ("HOST", ""),
        ("HOST", " "),
        ("RUN_DIR", ""),
        ("BATCH_SIZE", "yes"),
        ("LOG_FORMAT", "text"),
        ("DEADLINE_SECONDS", "-1"),
        ("DEADLINE_SECONDS", "nan"),
        ("DEADLINE_SECONDS", "inf"),
        ("MAX_BODY_BYTES", "8 MiB"),
        ("DEADLINE_SECONDS", "0"),
        ("BODY_IDLE_SECONDS", "0"),
        ("CORS_ORIGINS", ","),
    ],
)
def test_a_bad_value_names_its_variable(name, value):
    with pytest.raises(BadSetting, match=rf"^{name}='{value}': \S.*$"):
        from_environment({name: value})


@pytest.mark.parametrize("value", [",", "secret,schlüssel"])  # no header value beyond ASCII would be compared
def test_bad_keys_are_not_repeated(value):
    with pytest.raises(BadSetting, match=r"^API_KEYS=…: \S") as raised:
        from_environment({"API_KEYS": value})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("PORT", "70000", "less than or equal to 65535"),
        ("MAX_BODY_BYTES", "1", "greater than or equal to 1024"),
        ("LOG_FORMAT", "xml", "'json' or 'off'"),
        ("GRACE_SECONDS", "soon", "valid number"),
    ],
)
def test_a_bad_value_is_told_its_rule(name, value, rule):
    with pytest.raises(BadSetting, match=rule):
        from_environment({name: value})


def test_what_is_no_setting_is_refused():
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=3001)


def test_api_keys_without_a_key_are_refused():
    assert from_environment({"API_KEYS": ""}).api_keys == ()
    with pytest.raises(BadSetting, match="API_KEYS"):
        from_environment({"API_KEYS": " , "})


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_variable_of_an_earlier_version_names_its_successor(old, new):
    with pytest.raises(BadSetting, match=f"^{old} is now {new}"):
        from_environment({old: "1"})
    assert set(re.findall(r"[A-Z_]{5,}", new)) <= set(NAMES)
    assert old not in NAMES


@pytest.mark.parametrize(
    ("given", "browsers_send"),
    [
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://localhost:5173/", "http://localhost:5173"),
        ("HTTPS://Example.ORG", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:80/", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("*", "*"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(given, browsers_send):
    assert origin(given) == browsers_send
    assert from_environment({"CORS_ORIGINS": f"https://other.example, {given}"}).cors_origins[1] == browsers_send


@pytest.mark.parametrize(
    "value",
    [
        "localhost:5173",
        "example.org",
        "http://localhost:*",
        "https://*.example.org",
        "https://",
        "//example.org",
        "https://example.org/app",
        "https://example.org?x=1",
        "https://user@example.org",
        "https://example.org:65536",
        "https://example.org:port",
        "https://exa mple.org",
        "https://a..b",
        "null",
    ],
)
def test_what_no_origin_can_be_equal_to_ends_the_start(value):
    with pytest.raises(BadSetting, match=r"^CORS_ORIGINS=.*scheme://host\[:port\]"):
        from_environment({"CORS_ORIGINS": value})
    with pytest.raises(BadSetting, match="CORS_ORIGINS"):
        from_environment({"CORS_ORIGINS": f"https://example.org,{value}"})


@given(st.text(max_size=30) | st.text("htps:/*.[]1a?#@ ", max_size=30).map("https://".__add__))
def test_whatever_is_taken_for_an_origin_stays_as_it_is(text):
    try:
        found = origin(text)
    except ValueError:
        return
    assert origin(found) == found


def test_a_bad_value_ends_the_start_with_one_line():
    done = proxy(PORT="http")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: PORT='http': Input should be a valid integer, unable to parse string as an integer\n"


def test_help_prints_every_setting_with_its_default_and_meaning():
    done = proxy("--help")
    assert done.returncode == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert [name for name, _, _ in table()] == NAMES
    for name, default, about in table():
        assert about in rows[name], name
        assert rows[name].endswith(f"[{default or 'none'}]"), name
