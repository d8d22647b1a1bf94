"""What the doctor says about installed packages, whatever their metadata holds."""

import re
import subprocess
import sys

import pytest

from maetool.installation import packages as installation
from maetool.installation.packages import ABSENT, FAILS, OK, Finding, attempt, guard, packages, system, to_lines


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Puts packages with the given metadata in front of those that are really there."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, *lines, version="1.0"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        head = ["Metadata-Version: 2.4", f"Name: {name}", *([f"Version: {version}"] if version else [])]
        (folder / "METADATA").write_text("\n".join([*head, *lines]) + "\n")

    return install


def requires(install, *lines, extras=("onnx", "docs", "test")):
    install("maetool", *(f"Provides-Extra: {extra}" for extra in extras), *(f"Requires-Dist: {line}" for line in lines))
    return {finding.name: finding for finding in packages()}


def test_requirements_of_every_form(installed):
    found = requires(
        installed,
        "torch>=2.6",
        "numpy>=99.0,!=99.1",
        "mkdocs<2,>=1.6; extra == 'docs'",
        "pytest>=1; extra == 'test'",
        "no-such-thing[more]>=1.2; extra == 'onnx'",
        "numpy; extra == 'onnx'",
        "only-there>=1; sys_platform == 'win32'",
        "Pillow (>=10.1)",
        "timm @ https://example.com/timm.zip",
    )
    assert found["torch"].state == found["Pillow"].state == found["timm"].state == found["numpy (for onnx)"].state == OK
    assert (found["numpy"].state, found["numpy"].cure) == (FAILS, 'pip install "numpy!=99.1,>=99.0"')
    missing = 'pip install "no-such-thing>=1.2"'
    assert found["no-such-thing (for onnx)"] == Finding(ABSENT, "no-such-thing (for onnx)", "not installed", missing)
    assert len(found) == 6


def test_the_requirements_of_this_environment_can_be_read():
    found = list(packages())
    assert {"torch", "timm", "onnx (for onnx)"} <= {finding.name for finding in found}
    assert [finding for finding in found if "Invalid" in finding.detail] == []


@pytest.mark.parametrize("line", ["!nonsense!", "torch>=", "torch>=2; no_such_marker == 'x'", "tor ch"])
def test_a_requirement_that_cannot_be_read_is_one_line(installed, line):
    found = requires(installed, line, "timm>=1")
    assert found["timm"].state == OK
    assert found[line].state == FAILS
    assert found[line].detail.startswith("InvalidRequirement: ")
    assert found[line].cure == "pip install --force-reinstall --no-deps maetool"
    assert to_lines(found[line]).count("\n") == 1


def test_broken_metadata_of_a_package(installed):
    installed("broken-version", version="not a version")
    installed("colorsys", version="")  # the module of the standard library is there, the version is not
    installed("no-version", version="")
    found = requires(installed, "broken-version>=1", "colorsys>=1", "no-version>=1")
    assert (found["broken-version"].state, found["broken-version"].detail) == (
        *(FAILS, "not a version, but >=1 is needed"),
    )
    assert found["colorsys"].detail == "can be imported, but has no metadata, so its version is unknown"
    assert found["no-version"].detail == "not installed"


@pytest.mark.parametrize(
    ("package", "other", "version", "state"),
    [
        ("onedl-mmengine", "mmengine", "0.10.7", OK),
        ("onedl-mmengine", "mmengine-lite", "0.7.1", FAILS),
        ("onedl-mmcv", "mmcv", "2.1.0", OK),
        ("opencv-python", "opencv-python-headless", "4.12.0.88", OK),
        ("opencv-python", "opencv-contrib-python", "4.5", FAILS),
    ],
)
def test_another_package_may_bring_the_module(installed, monkeypatch, package, other, version, state):
    real = installation.version

    def hidden(name):
        if name == package:
            raise installation.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(installation, "version", hidden)
    installed(other, version=version)
    finding = requires(installed, f"{package}>=3")[package]
    assert finding.state == state
    assert f"{other} {version}" in finding.detail


def test_packages_that_overwrite_each_other(monkeypatch):
    monkeypatch.setattr(installation, "version", lambda name: None if name.endswith("-lite") else "1.0")
    cures = [finding.cure for finding in packages() if "overwrite each other" in finding.detail]
    assert [cure.split(" && ")[0] for cure in cures] == ["pip uninstall -y mmengine", "pip uninstall -y mmcv"]


def test_maetool_on_the_path_only(monkeypatch):
    def missing(name):
        raise installation.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "metadata", missing)
    (finding,) = packages()
    assert (finding.state, finding.name) == (FAILS, "maetool")


def test_systems(monkeypatch):
    assert system().state == OK
    monkeypatch.setattr(installation.platform, "system", lambda: "Windows")
    assert (system().state, system().cure) == (ABSENT, "Linux and macOS are supported; on Windows use WSL 2")


def test_whatever_breaks_is_one_line():
    def fail():
        raise OSError("the disk is away\nand more")

    finding = attempt("a disk", fail, "plug it in")
    assert to_lines(finding) == f"FAILS   {'a disk':36} OSError: the disk is away\n        -> plug it in"
    assert attempt("a disk", fail, needed=False).state == ABSENT

    def half():
        yield Finding(OK, "first", "there")
        raise SystemExit

    assert [finding.state for finding in guard("halves", half)] == [OK, FAILS]


@pytest.mark.parametrize("module", ["torch", "cv2", "mmengine", "packaging"])
def test_the_doctor_speaks_where_a_package_is_missing(repository, module):
    code = f"import sys; sys.modules[{module!r}] = None; from maetool.commands import main; main()"
    command = [sys.executable, "-c", code, "doctor"]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(rf"ModuleNotFoundError: .*\b{module}\b", result.stdout)
    assert result.stdout.count("FAILS") <= 2  # what is missing, and what that keeps from being tried
    assert result.stderr.strip().startswith("error: ")
