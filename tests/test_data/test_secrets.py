"""Secrets in the options of sources come from environment variables, and those that are spelled out are warned of."""

import pytest

pytest.importorskip("fsspec")

from maetool.data.sources import secrets
from maetool.data.sources.remote_system import RemoteSystem
from maetool.errors import UsageError

OPTIONS = {"key": "${MAETOOL_KEY}", "client_kwargs": {"headers": ["Bearer ${MAETOOL_KEY}"]}, "anon": False}


def test_variables_are_read_when_the_place_is_opened(monkeypatch):
    with pytest.raises(UsageError, match=r"^options name the environment variable MAETOOL_KEY, which is not set"):
        secrets.with_variables(OPTIONS)
    monkeypatch.setenv("MAETOOL_KEY", "abc")
    expected = {"key": "abc", "client_kwargs": {"headers": ["Bearer abc"]}, "anon": False}
    assert secrets.with_variables(OPTIONS) == expected


def test_a_system_is_built_with_the_variables_and_keeps_their_names(monkeypatch):
    monkeypatch.setenv("MAETOOL_KEY", "abc")
    system = RemoteSystem("memory://folder", {"note": "${MAETOOL_KEY}"})
    assert system._connected()[0].storage_options["note"] == "abc"
    assert system.options == {"note": "${MAETOOL_KEY}"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"key": "abc", "anon": True}, ["key"]),
        ({"client_kwargs": {"aws_secret_access_key": "abc"}}, ["aws_secret_access_key"]),
        ({"token": "abc", "password": "abc"}, ["token", "password"]),
        (OPTIONS, []),
        ({"monkey": "abc", "keyboard": "abc", "token": None}, []),
    ],
)
def test_what_is_spelled_out(options, names):
    assert list(secrets._spelled_out(options)) == names


def test_the_warning_does_not_repeat_the_secret(monkeypatch):
    said = []
    monkeypatch.setattr(secrets, "print_log", lambda text, **_: said.append(text))
    secrets._warn.cache_clear()
    for _ in range(2):
        RemoteSystem("memory://folder", {"my_token": "a1b2c3"})
    assert len(said) == 1 and "my_token='${NAME}'" in said[0] and "a1b2c3" not in said[0]
