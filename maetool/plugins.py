"""Third-party packages that register parts, found by the packaging entry point group `maetool.plugins`."""

import logging
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

GROUP = "maetool.plugins"


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
        entry.load()
        report.loaded.append(entry.name)
    except (Exception, SystemExit) as error:  # a plugin's error must not stop maetool
        report.failed[entry.name] = f"{type(error).__name__}: {error}"
        logging.getLogger("maetool").warning("Plugin %s was not loaded: %s", entry.name, report.failed[entry.name])


def describe_plugins() -> str:
    """One sentence on the plugins: which are loaded, which failed and why."""
    report = load_plugins()
    loaded = f"Loaded plugins: {', '.join(report.loaded) or 'none'}."
    failed = "".join(f" Plugin {name} failed to load ({reason})." for name, reason in report.failed.items())
    return loaded + failed
