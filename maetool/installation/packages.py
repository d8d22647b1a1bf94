"""Installed packages, from their metadata; works even if torch cannot be imported."""

import platform
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Any

from maetool._lazy import is_installed

OK, FAILS, ABSENT = "ok", "FAILS", "absent"
_REPAIR = "pip install --force-reinstall --no-deps maetool"
_OF_DEVELOPERS = {"test", "dev", "docs", "typecheck", "bench"}
# Other packages that provide the same module, and their oldest version that works with maetool.
_INSTEAD = {
    "onedl-mmengine": {"mmengine": "0.10.7", "mmengine-lite": "0.10.7"},
    "onedl-mmcv": {"mmcv": "2.0.0", "mmcv-lite": "2.0.0"},
    "opencv-python": dict.fromkeys(
        ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"), "4.11.0.86"
    ),
}
_MODULES = {"onedl-mmengine": "mmengine", "onedl-mmcv": "mmcv", "opencv-python": "cv2"}
_MODULES |= {"pillow": "PIL", "scikit-learn": "sklearn"}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        state: "ok", "FAILS" for a requirement, or "absent" for something optional.
        name: what was checked.
        detail: versions, devices, or the reason for the failure.
        cure: the command to run, or what to do; empty without a problem.
    """

    state: str
    name: str
    detail: str
    cure: str = ""

    @property
    def found(self) -> str:
        """The old name of `detail`."""
        sentence = "Finding.found is now Finding.detail; maetool 0.3.0 removes the old name."
        warnings.warn(sentence, DeprecationWarning, stacklevel=2)
        return self.detail


def attempt(name: str, work: Callable[[], str], cure: str = "", needed: bool = True) -> Finding:
    """Run a check and return the result; any exception becomes a failure.

    Args:
        name: of the check, as printed.
        work: the check; returns what is printed after "ok".
        cure: what to do when it fails.
        needed: False where it is no fault to lack what is checked.
    """
    try:
        return Finding(OK, name, work())
    except Exception as error:
        return Finding(FAILS if needed else ABSENT, name, _sentence(error), cure)


def guard(name: str, findings: Callable[[], Iterable[Finding]], cure: str = "") -> Iterator[Finding]:
    """Yield findings; an exception becomes the last one.

    Args:
        name: of the exception's finding.
        findings: yields them.
        cure: what to do after an exception.
    """
    try:
        yield from findings()
    except (Exception, SystemExit) as error:  # a broken package can raise anything when it is imported
        yield Finding(FAILS, name, _sentence(error), cure)


def to_lines(finding: Finding) -> str:
    """Format a finding as a line for the terminal, with the cure on a second line."""
    line = f"{finding.state:7} {finding.name:36} {finding.detail}"
    return f"{line}\n        -> {finding.cure}" if finding.cure else line


def system() -> Finding:
    """Check Python and the operating system."""
    about = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    if platform.system() not in ("Linux", "Darwin"):
        return Finding(ABSENT, "Python", about, "Linux and macOS are supported; on Windows use WSL 2")
    return Finding(OK, "Python", about)


def packages() -> Iterator[Finding]:
    """Check required and optional packages; packages that overwrite each other fail."""
    try:
        about = metadata("maetool")
    except PackageNotFoundError:
        yield Finding(
            FAILS, "maetool", "it is on the import path, but not installed", "pip install -e . in the checkout"
        )
        return
    try:
        import packaging.requirements  # noqa: F401
    except ImportError as error:
        yield Finding(FAILS, "packaging", _sentence(error), "pip install --force-reinstall packaging")
        return
    extras = about.get_all("Provides-Extra") or []
    for line in about.get_all("Requires-Dist") or []:
        yield from guard(line, partial(_requirement, line, extras), _REPAIR)
    for package, others in _INSTEAD.items():
        for other in others if _version(package) and "opencv" not in package else ():
            if _version(other):
                cure = f"pip uninstall -y {other} && pip install --force-reinstall --no-deps {package}"
                problem = f"{other} {_version(other)} and {package} {_version(package)} overwrite each other"
                yield Finding(FAILS, other, problem, cure)


def _requirement(line: str, extras: Iterable[str]) -> Iterator[Finding]:
    """Check one requirement; yields nothing if it is not for this machine, or for developers only."""
    from packaging.requirements import Requirement  # here, because it may be missing

    requirement = Requirement(line)
    needed = _applies(requirement, "")
    extra = next((extra for extra in extras if extra not in _OF_DEVELOPERS and _applies(requirement, extra)), None)
    if not needed and extra is None:
        return
    label = requirement.name if needed else f"{requirement.name} (for {extra})"
    state, missing = (FAILS if needed else ABSENT), f'pip install "{requirement.name}{requirement.specifier}"'
    there = _version(requirement.name)
    other = next((name for name in _INSTEAD.get(requirement.name.lower(), ()) if _version(name)), None)
    if there is not None:
        fits = _fits(there, requirement.specifier)
        detail = there if fits else f"{there}, but {requirement.specifier} is needed"
        yield Finding(OK if fits else state, label, detail, "" if fits else missing)
    elif other is not None:
        yield _alternative(requirement.name, other, label, state)
    elif is_installed(_MODULES.get(requirement.name.lower(), requirement.name.replace("-", "_"))):
        yield Finding(OK, label, "can be imported, but has no metadata, so its version is unknown")
    else:
        yield Finding(state, label, "not installed", missing)


def _alternative(name: str, other: str, label: str, state: str) -> Finding:
    from packaging.specifiers import SpecifierSet

    least, there = _INSTEAD[name.lower()][other], str(_version(other))
    if _fits(there, SpecifierSet(f">={least}")):
        return Finding(OK, label, f"{other} {there} provides the same module")
    return Finding(state, label, f"{other} {there}, but {least} or newer is needed", f'pip install "{other}>={least}"')


def _fits(there: str, specifier: Any) -> bool:
    from packaging.version import InvalidVersion

    try:
        return specifier.contains(there, prereleases=True)
    except InvalidVersion:  # the metadata is broken
        return False


def _applies(requirement: Any, extra: str) -> bool:
    return requirement.marker is None or bool(requirement.marker.evaluate({"extra": extra}))


def _version(name: str) -> str | None:
    """Return the version of an installed package; None if the package or its version is missing."""
    try:
        return version(name) or None
    except (PackageNotFoundError, KeyError):  # KeyError: metadata without the field Version
        return None


def _sentence(error: BaseException) -> str:
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {reason}"
