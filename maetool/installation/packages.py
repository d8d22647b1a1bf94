"""What is installed here, read from the metadata of the packages; it works where torch itself cannot be imported."""

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec
from typing import Any

OK, FAILS, ABSENT = "ok", "FAILS", "absent"
_REPAIR = "pip install --force-reinstall --no-deps maetool"
_OF_DEVELOPERS = {"test", "dev", "docs", "typecheck", "bench"}
# What other packages bring the same module, and from which of their versions maetool works with them.
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
    """What was found out about one thing.

    Attributes:
        state: "ok", "FAILS" for what maetool needs, or "absent" for what it can do without.
        name: what was tried.
        found: versions, devices, or why it does not work.
        cure: the line to type, or what to do; empty where nothing is wrong.
    """

    state: str
    name: str
    found: str
    cure: str = ""


def attempt(name: str, work: Callable[[], str], cure: str = "", needed: bool = True) -> Finding:
    """Try something and return what came of it; whatever goes wrong is the finding."""
    try:
        return Finding(OK, name, work())
    except Exception as error:
        return Finding(FAILS if needed else ABSENT, name, _sentence(error), cure)


def guard(name: str, findings: Callable[[], Iterable[Finding]], cure: str = "") -> Iterator[Finding]:
    """Yield findings; an exception ends them, as the last finding."""
    try:
        yield from findings()
    except (Exception, SystemExit) as error:  # a broken package can raise anything when it is imported
        yield Finding(FAILS, name, _sentence(error), cure)


def to_lines(finding: Finding) -> str:
    """Return a finding as a line for a terminal, and a second one with the cure."""
    line = f"{finding.state:7} {finding.name:36} {finding.found}"
    return f"{line}\n        -> {finding.cure}" if finding.cure else line


def system() -> Finding:
    """Return Python and the operating system, and whether maetool supports that."""
    about = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    if platform.system() not in ("Linux", "Darwin"):
        return Finding(ABSENT, "Python", about, "Linux and macOS are supported; on Windows use WSL 2")
    return Finding(OK, "Python", about)


def packages() -> Iterator[Finding]:
    """Yield the packages that maetool needs, and those that it can use; packages that overwrite each other fail."""
    try:
        about = metadata("maetool")
    except PackageNotFoundError:
        yield Finding(FAILS, "maetool", "it is not installed, only on the path", "pip install -e . in the checkout")
        return
    try:
        import packaging.requirements  # noqa: F401
    except ImportError as error:
        yield Finding(FAILS, "packaging", _sentence(error), "pip install --force-reinstall packaging")
        return
    extras = about.get_all("Provides-Extra") or []
    for line in about.get_all("Requires-Dist") or []:
        yield from guard(line, lambda line=line: _requirement(line, extras), _REPAIR)
    for package, others in _INSTEAD.items():
        for other in others if _version(package) and "opencv" not in package else ():
            if _version(other):
                cure = f"pip uninstall -y {other} && pip install --force-reinstall --no-deps {package}"
                found = f"{other} {_version(other)} and {package} {_version(package)} overwrite each other"
                yield Finding(FAILS, other, found, cure)


def _requirement(line: str, extras: Iterable[str]) -> Iterator[Finding]:
    """Yield what is there of one requirement; nothing where it is not one of this machine, or of developers only."""
    from packaging.requirements import Requirement  # here, because it may be what is missing

    wanted = Requirement(line)
    needed = _applies(wanted, "")
    extra = next((extra for extra in extras if extra not in _OF_DEVELOPERS and _applies(wanted, extra)), None)
    if not needed and extra is None:
        return
    label = wanted.name if needed else f"{wanted.name} (for {extra})"
    state, missing = (FAILS if needed else ABSENT), f'pip install "{wanted.name}{wanted.specifier}"'
    there = _version(wanted.name)
    other = next((name for name in _INSTEAD.get(wanted.name.lower(), ()) if _version(name)), None)
    if there is not None:
        fits = _fits(there, wanted.specifier)
        told = there if fits else f"{there}, but {wanted.specifier} is needed"
        yield Finding(OK if fits else state, label, told, "" if fits else missing)
    elif other is not None:
        yield _alternative(wanted.name, other, label, state)
    elif find_spec(_MODULES.get(wanted.name.lower(), wanted.name.replace("-", "_"))):
        yield Finding(OK, label, "can be imported, but has no metadata, so its version is unknown")
    else:
        yield Finding(state, label, "not installed", missing)


def _alternative(name: str, other: str, label: str, state: str) -> Finding:
    from packaging.specifiers import SpecifierSet

    least, there = _INSTEAD[name.lower()][other], str(_version(other))
    if _fits(there, SpecifierSet(f">={least}")):
        return Finding(OK, label, f"{other} {there} brings the same module")
    return Finding(state, label, f"{other} {there}, but {least} or newer is needed", f'pip install "{other}>={least}"')


def _fits(there: str, specifier: Any) -> bool:
    from packaging.version import InvalidVersion

    try:
        return specifier.contains(there, prereleases=True)
    except InvalidVersion:  # the metadata is broken
        return False


def _applies(wanted: Any, extra: str) -> bool:
    return wanted.marker is None or bool(wanted.marker.evaluate({"extra": extra}))


def _version(name: str) -> str | None:
    """Return the version of an installed package, None where it is missing or its metadata says none."""
    try:
        return version(name) or None
    except (PackageNotFoundError, KeyError):  # KeyError: metadata without the field Version
        return None


def _sentence(error: BaseException) -> str:
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {reason}"
