"""Third-party packages that register parts, found by the packaging entry point group `maetool.plugins`."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "maetool.plugins"
# The names of parts in each registry, which registries add.
TABLES: list[dict[str, Any]] = []


@dataclass
class PluginReport:
    """Which plugins were loaded, and why the others were not.

    Attributes:
        loaded: names of the plugins that were imported.
        failed: name of the plugin to the reason why its import failed.
    """

    loaded: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


_report: PluginReport | None = None


def load_plugins() -> PluginReport:
    """Import every installed plugin once; one that fails is reported and does not stop the others."""
    global _report
    if _report is None:
        _report = PluginReport()
        for entry in entry_points(group=GROUP):
            _load(entry, _report)
    return _report


def _load(entry: EntryPoint, report: PluginReport) -> None:
    try:
        with _undone_on_error(getattr(entry, "module", "").partition(".")[0]):
            entry.load()
        report.loaded.append(entry.name)
    except (Exception, SystemExit) as error:  # a plugin's error must not stop maetool
        report.failed[entry.name] = f"{type(error).__name__}: {error}"
        logging.getLogger("maetool").warning("Plugin %s was not loaded: %s", entry.name, report.failed[entry.name])


@contextmanager
def _undone_on_error(package: str) -> Iterator[None]:
    """Context manager: take back what a package registered and imported if its import fails half-way.

    What others registered meanwhile stays, because their modules stay imported and would not register it again.
    """
    tables, modules = [dict(table) for table in TABLES], set(sys.modules)
    try:
        yield
    except BaseException:
        for table, before in zip(TABLES, tables, strict=False):
            for name in [name for name, part in table.items() if _top(getattr(part, "__module__", "")) == package]:
                del table[name]
            table.update({name: part for name, part in before.items() if name not in table})
        for name in [name for name in set(sys.modules) - modules if _top(name) == package]:
            del sys.modules[name]
        raise


def _top(module: str) -> str:
    return module.partition(".")[0]


def describe_plugins() -> str:
    """One sentence on the plugins: which are loaded, which failed and why."""
    report = load_plugins()
    loaded = f"Loaded plugins: {', '.join(report.loaded) or 'none'}."
    failed = "".join(f" Plugin {name} failed to load ({reason})." for name, reason in report.failed.items())
    return loaded + failed
