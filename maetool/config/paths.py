"""Finds config files, by path or by a name such as `maetool::mae/vit-t_shapes.py`."""

import ast
import difflib
from importlib.util import find_spec
from pathlib import Path

from mmengine import Config
from mmengine.config.utils import MODULE2PACKAGE

from maetool.errors import UsageError

from .removed import instead_of

OWN = "maetool"
_SEPARATOR = "::"
_NEAR = 3


def find_config(name: str | Path) -> Path:
    """Return the file of a config.

    Args:
        name: a path, or `package::path` for a config that an installed package ships; both with or without `.py`.

    Raises:
        UsageError: no such file or package, or a config that earlier versions of maetool had.
    """
    package, separator, inner = str(name).rpartition(_SEPARATOR)
    if separator:
        inside = configs_folder(package) / inner
        file = _with_ending(inside) if inner and ".." not in inside.parts else None
    else:
        file = _with_ending(Path(name))
    if file is None:
        _check_removed(str(name), package)
        raise UsageError(f"There is no config {name}: {_advice(str(name), package)}")
    return file


def _check_removed(name: str, package: str) -> None:
    """Refuse a missing config that earlier versions of maetool had.

    Raises:
        UsageError: it is one of those; the message says what to write instead.
    """
    instead = instead_of(name) if package in ("", OWN) else ""
    if instead:
        raise UsageError(f"There is no config {name} any more: {instead}.")


def names_config(source: str | Path) -> bool:
    """Return whether a source, which is a config or a checkpoint, looks like a config."""
    return Path(source).suffix == ".py" or _SEPARATOR in str(source)


def configs_folder(package: str) -> Path:
    """Return the folder with the configs of an installed package.

    It is `.mim/configs` in the package, as in the packages of OpenMMLab, `configs` in it, or in a source checkout
    `configs` beside it.

    Raises:
        UsageError: no such package, or one without configs.
    """
    try:
        spec = find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):  # of a module that was not imported from a file, such as __main__
        spec = None
    if spec is None:
        raise UsageError(f"There is no package `{package}`: write {OWN}::FOLDER/NAME.py, or install the package.")
    for place in map(Path, spec.submodule_search_locations or []):
        beside = [place.parent / "configs"] if _is_checkout(place.parent) else []
        for folder in (place / ".mim" / "configs", place / "configs", *beside):
            if folder.is_dir():
                return folder
    raise UsageError(
        f"The package `{package}` ships no configs, because it has no folder .mim/configs or configs: name a config "
        "file by its path."
    )


def config_names(package: str = OWN) -> list[str]:
    """Return the names of all complete configs of a package, sorted; those in `_base_` are parts of others.

    Raises:
        UsageError: as `configs_folder`.
    """
    folder = configs_folder(package)
    paths = [path.relative_to(folder) for path in folder.rglob("*.py")]
    return sorted(f"{package}{_SEPARATOR}{path.as_posix()}" for path in paths if "_base_" not in path.parts)


def describe(path: Path) -> str:
    """Return the first line of the docstring of the config at `path`, without its full stop; "" without a docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0].rstrip(".")


def short_name(path: Path) -> str:
    """Return the shortest name of the config at `path`: relative to this folder, `maetool::...`, or absolute."""
    resolved = path.resolve()
    if resolved.is_relative_to(Path.cwd()):
        return str(resolved.relative_to(Path.cwd()))
    folder = configs_folder(OWN).resolve()
    if resolved.is_relative_to(folder):
        return f"{OWN}{_SEPARATOR}{resolved.relative_to(folder).as_posix()}"
    return str(resolved)


def _with_ending(path: Path) -> Path | None:
    return next((file for file in (path, Path(f"{path}.py")) if file.is_file()), None)


def _is_checkout(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file() or (folder / "setup.py").is_file()


def _advice(name: str, package: str) -> str:
    """Return suggestions: near names among the files below `configs` and among the configs of the package."""
    known = config_names(package or OWN)
    inner = name.rpartition(_SEPARATOR)[2].removeprefix("./").removeprefix("configs/").removesuffix(".py") + ".py"
    named = f"{package or OWN}{_SEPARATOR}{inner}"
    files = [] if package else [str(path) for path in Path("configs").rglob("*.py")]
    near = (
        [each for each in known if each == named]
        or difflib.get_close_matches(name, files, _NEAR)
        or [each for each in known if each.endswith(f"/{inner}")][:_NEAR]
        or difflib.get_close_matches(named, known, _NEAR)
    )
    option = "" if package in ("", OWN) else f" --package {package}"
    hint = f"near names: {', '.join(near)}; " if near else ""
    return f"{hint}`maetool list_configs{option}` lists all."


_of_mmengine = Config._get_cfg_path


def _base_path(base: str, filename: str) -> tuple[str, str | None]:
    """Return the file and the scope of a `_base_`; MMEngine itself supports only the packages of OpenMMLab."""
    package, separator, _ = base.rpartition(_SEPARATOR)
    if not separator or package in MODULE2PACKAGE:
        path, scope = _of_mmengine(base, filename)
        if not separator and not Path(path).is_file():
            _check_removed(base, package)
        return path, scope
    return str(find_config(base)), None


Config._get_cfg_path = staticmethod(_base_path)  # MMEngine has no other hook to locate a base
