"""Settings: parsed once, frozen, loud about what cannot be used; one table tells them all."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.settings import BadSetting, Settings, from_environment, table

ROOT = Path(__file__).parent.parent
NAMES = [field.name.upper() for field in dataclasses.fields(Settings)]


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
    settings = from_environment({"PORT": "4500", "COALESCE": "0", "DEADLINE_SECONDS": "2.5", "CORS_ORIGINS": "a, b"})
    assert (settings.port, settings.coalesce, settings.deadline_seconds) == (4500, False, 2.5)
    assert settings.cors_origins == ("a", "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "3001x"),
        ("PORT", ""),
        ("HOST", ""),
        ("COALESCE", "yes"),
        ("LOG_FORMAT", "xml"),
        ("DEADLINE_SECONDS", "-1"),
        ("DEADLINE_SECONDS", "nan"),
        ("DEADLINE_SECONDS", "inf"),
        ("MAX_BODY_BYTES", "8 MiB"),
        ("API_KEYS", ","),
    ],
)
def test_a_bad_value_names_its_variable_and_what_it_should_be(name, value):
    with pytest.raises(BadSetting, match=rf"^{name}=.*: expected \S") as error:
        from_environment({name: value})
    assert "None" not in str(error.value)


def test_a_bad_value_ends_the_start_with_one_line():
    done = proxy(PORT="http")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: PORT='http': expected a whole number from 1 to 65535\n"


def test_help_prints_every_setting_with_its_default_and_meaning():
    done = proxy("--help")
    assert done.returncode == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert [name for name, _, _ in table()] == NAMES
    for name, default, about in table():
        assert about in rows[name], name
        assert rows[name].endswith(f"[{default or 'none'}]"), name
