"""Loads configs from files and applies command-line options, in one order for all commands."""

import inspect
import sys
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine import Config, ConfigDict
from mmengine.config.lazy import LazyObject
from mmengine.utils import get_object_from_string

from maetool._deprecated import moved
from maetool.data.sources.kinds import is_absent
from maetool.errors import UsageError
from maetool.registry import registered_name
from maetool.weights.addresses import timm_name

from .checks import check_config, check_sections
from .complete import complete_config as complete_config  # re-exported: 0.1 had these names in one module
from .complete import move_preprocessor
from .debug import shrink
from .defaults import fill_defaults
from .facts import loaders_of as loaders_of
from .facts import takes as takes
from .hooks import hook_names, list_hooks, name_in_option
from .keys import check_keys
from .of_timm import config_of_timm
from .options import change_config as change_config
from .options import parse_runs as parse_runs
from .options import repeat_options
from .paths import find_config
from .text import OrderedConfig
from .user_data import adopt_classes, point_at, share_facts
from .values import check_training

_STDLIB = sysconfig.get_path("stdlib")


def load_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Load a config and change it by `options`, each `key.key=value`.

    A config in MMEngine's pure Python style, which imports its classes, becomes one that names them.

    Args:
        path: a file, the name of a config that a package ships, `maetool::mae/vit-t_shapes.py`, or `timm:NAME`, the
            encoder of that name.
        options: changes.

    Raises:
        UsageError: no such file, a file that is not a config, an unknown top-level key, or an option for a key that
            does not exist.
    """
    cfg = read_config(path) if timm_name(path) is None else config_of_timm(str(path))
    fill_defaults(cfg)  # before the options, which may change what is filled in
    names = hook_names(cfg)
    change_config(cfg, [name_in_option(option, names) for option in options])
    cfg = with_names(cfg) if options else cfg
    list_hooks(cfg)
    move_preprocessor(cfg)
    cfg.setdefault("work_dir", default_work_dir(Path(cfg.filename or path)))
    return cfg


def read_config(path: str | Path) -> Config:
    """Return a config as its files define it, with classes replaced by their registered names; see `load_config`.

    Args:
        path: of the config, or `maetool::name`.

    Raises:
        UsageError: no such file, a file that is not a config, or an unknown top-level key.
    """
    path = find_config(path)
    try:
        cfg = with_names(Config.fromfile(path))
    except UsageError:  # of a part that `custom_imports` registers
        raise
    except (Exception, SystemExit) as error:  # a config is code and can raise anything
        raise UsageError(f"The config {path} cannot be read ({_reason(error)}).") from error
    check_keys(cfg)
    return cfg


def default_work_dir(path: Path) -> str:
    """Return the folder for the runs of the config file `path`, if it names none."""
    # With the folder, which is the method's: many methods have a vit-b_800e.py.
    return f"work_dirs/{'_'.join(filter(None, (path.parent.name, path.stem)))}"


def load_for(
    path: str | Path,
    options: Sequence[str] = (),
    data: str | None = None,
    flags: Mapping[str, Any] | None = None,
    debug: bool = False,
    adopt: bool = True,
) -> tuple[Config, list[str]]:
    """Load a config as a command line describes it, and return it with the sentences on what --debug changed.

    Every command uses the same order: the file, `flags`, `data`, `debug`; `options` override all of them.

    Args:
        path: the config.
        options: of --cfg-options, each `key.key=value`.
        data: of --data, see `maetool.config.user_data.use_data`.
        flags: values of the command's own options, by the name of what they change, such as "optim_wrapper.dtype"; None
            leaves the value as it is.
        debug: shrink the config, see `maetool.config.debug.shrink`.
        adopt: set the model's classes to those of `data`.

    Raises:
        UsageError: see `load_config` and `use_data`.
    """
    cfg = load_config(path, options)
    given = deepcopy(cfg)
    cfg.merge_from_dict({name: value for name, value in (flags or {}).items() if value is not None})
    if data:
        if debug and is_absent(data):  # drawn shapes replace the config's own data alone
            raise UsageError(f"--data is {data}, which does not exist: name images that exist, or leave --data out.")
        check_sections(cfg)
        point_at(cfg, data, load_config(path))
        repeat_options(cfg, options, given)
        share_facts(cfg, options)
        if adopt:
            adopt_classes(cfg)
    if debug:
        check_training(cfg)
        check_config(cfg)  # values of a wrong type cannot be shrunk
    sentences = shrink(cfg) if debug else []
    dtype = (flags or {}).get("optim_wrapper.dtype")
    if debug and dtype:  # the user asked for it explicitly
        cfg.optim_wrapper.dtype = dtype
    repeat_options(cfg, options, given)
    return cfg, sentences


def _reason(error: BaseException) -> str:
    while isinstance(error, ImportError) and error.__context__:  # MMEngine hides the reason
        error = error.__context__
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(last.filename)
    is_user_code = file.is_file() and not file.is_relative_to(_STDLIB) and "mmengine" not in file.parts
    where = f", in {file}, line {last.lineno}" if is_user_code else ""
    return f"{type(error).__name__}: {error}{where}"


def with_names(cfg: Config) -> Config:
    """Return `cfg` with every `type` that is a registered class, or its dotted path, replaced by its registered name.

    Raises:
        Exception: whatever a module raises that a config in pure Python style imports.
    """
    keys = [name for name in cfg if name not in getattr(cfg, "_imported_names", ())]
    plain = {name: _named(name, cfg[name]) for name in keys}
    return OrderedConfig(plain, cfg_text=cfg.text or None, filename=cfg.filename)


def _named(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return ConfigDict({name: _named(name, item) for name, item in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_named("", item) for item in value)
    return _name(value) if key == "type" else _importable(value)


def _name(part: Any) -> Any:
    if isinstance(part, str):
        if not part.startswith("maetool."):
            return part
        try:
            return registered_name(get_object_from_string(part)) or part
        except Exception:  # the check of the part says what is wrong with it
            return part
    if not callable(part):
        return part
    return registered_name(part) or _importable(part)


def _importable(value: Any) -> Any:
    """Return a class or function in MMEngine's form: itself for whoever asks, its path in the text of a config."""
    if not inspect.isclass(value) and not inspect.isfunction(value):
        return value
    module, name = value.__module__, value.__qualname__
    return LazyObject(module, name) if getattr(sys.modules.get(module), name, None) is value else value


__getattr__ = moved(__name__, {"stated": "maetool.config.facts.argument_of"}, "0.3.0")
