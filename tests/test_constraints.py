"""`constraints.txt`: versions with hashes that fit what setup.py asks for."""

import re
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)==(?P<version>\S+) \\\n    --hash=sha256:[0-9a-f]{64}\n")
COVERED = ("", "test")  # the extras of which everything is named


@pytest.fixture(scope="module")
def pinned(repository):
    """Name to version of what the file names; every line of it belongs to one."""
    text = "".join(line for line in (repository / "constraints.txt").open() if not line.startswith("#"))
    assert _LINE.sub("", text) == ""
    found = [(canonicalize_name(match["name"]), Version(match["version"])) for match in _LINE.finditer(text)]
    assert len(dict(found)) == len(found) > 50
    return dict(found)


def test_it_names_what_is_required_within_its_bounds(pinned):
    environment = {"python_version": "3.11", "sys_platform": "linux", "platform_machine": "x86_64"}
    tried = 0
    for requirement in map(Requirement, requires("maetool")):
        name, marker = canonicalize_name(requirement.name), requirement.marker
        needed = marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in COVERED)
        assert not needed or name in pinned, f"{requirement} is not in constraints.txt"
        if name in pinned:
            assert pinned[name] in requirement.specifier, f"{requirement}, but constraints.txt has {pinned[name]}"
            tried += 1
    assert tried > 20


def test_it_tells_nothing_of_a_machine(repository):
    text = (repository / "constraints.txt").read_text()
    assert "/" not in re.sub(r"\.ci/constraints\.py|docs/dependencies\.md", "", text) and "@" not in text
