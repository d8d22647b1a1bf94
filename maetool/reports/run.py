"""The page of one run, of one run with several seeds, or of several runs that are compared."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from maetool.errors import UsageError
from maetool.evaluation.names import MetricName
from maetool.visualization import html
from maetool.visualization.curves import seeds_figure

from .facts import RunFacts, differences, grouped, read_facts, runs_in
from .model_sections import model_sections
from .sections import pictures_of, table_of

Groups = Mapping[str, Sequence[RunFacts]]
_LOSSES = ("val/loss", "val/constant_predictor")
_CURVES = {
    "learning rate": ("lr",),
    "gradient norm": ("grad_norm",),
    "images per second": ("images_per_second",),
}
_DECIMALS = 3


def run_page(
    folders: Sequence[Path],
    images: int = 300,
    before: Sequence[str] = (),
    data: str | None = None,
    title: str = "",
) -> str:
    """Return the page of runs, which needs no other file: one run in detail, or several side by side.

    Runs that differ in their seed only are one row, with the range of their numbers.

    Args:
        folders: work folders, or the folder that `maetool compare` wrote.
        images: number of validation images for neighbours, map, confusion and the worst cases; 0 leaves these out.
        before: sections of HTML that come first.
        data: images in place of the run's own, for the sections that need its weights.
        title: of the page; by default the name of the run.

    Raises:
        UsageError: a folder without logs; `data` for several runs, without images, or of another kind than the run's.
    """
    groups = grouped([read_facts(folder) for folder in runs_in(folders)])
    one = next(iter(groups.values())) if len(groups) == 1 else None
    if data is not None and not (one and images):
        reason = "--images is 0" if one else f"there are {len(groups)} runs"
        raise UsageError(f"--data is {data}, but {reason}: only the page of one run looks at images.")
    title = title or (next(iter(groups)) if one else f"{len(groups)} runs")
    sections = [*before, html.section("Results", _results(groups)), _differences(groups)]
    sections.append(html.section("Curves", html.columns(*_curves(groups))))
    sections.append(html.section("Pictures of training", *map(_pictures, groups.values())))
    if one and images:
        sections += model_sections(one[0], images, data)
    sections += [html.section("Config", _configs(groups)), html.section("Versions", _versions(groups))]
    sections += [html.section("Commands", *(_commands(group) for group in groups.values()))]
    sections = list(filter(None, sections))
    problems = [problem for group in groups.values() for run in group for problem in run.problems]
    return html.page(title, [html.contents(sections), *map(html.paragraph, problems), *sections])


def _results(groups: Groups) -> str:
    """Return a table with a row for each group: the last measurements."""
    metrics = _metrics(groups)
    heads = ["run", "seeds", "epochs", "training loss"]
    heads += [head for entry in metrics.values() for head in _heads(entry)] + ["images/s"]
    rows = []
    for name, group in groups.items():
        row = [name, str(len(group)), _over(group, "epoch", 0), _over(group, "loss", _DECIMALS)]
        for key, entry in metrics.items():
            decimals = 1 if entry.unit else _DECIMALS
            row += [_over(group, key, decimals, first=True)] if entry.features else []
            row.append(_over(group, key, decimals))
        rows.append([*row, _over(group, "images_per_second", 0, middle=True)])
    return html.table(heads, rows)


def _heads(entry: MetricName) -> list[str]:
    return [f"untrained {entry.heading}", entry.heading] if entry.features else [entry.heading]


def _metrics(groups: Groups) -> dict[str, MetricName]:
    return {key: entry for group in groups.values() for run in group for key, entry in run.metrics.items()}


def _over(group: Sequence[RunFacts], key: str, decimals: int, first: bool = False, middle: bool = False) -> str:
    """Return the mean of a logged value over the runs of a group, and its range in brackets if they differ.

    It is the value before training, the median, or the last one.
    """
    logged = [run.logs[key] for run in group if run.logs.get(key)]
    if first:
        logged = [{0: each[0]} for each in logged if 0 in each]
    values = [statistics.median(each.values()) if middle else each[max(each)] for each in logged]
    if not values:
        return ""
    mean, low, high = (f"{value:.{decimals}f}" for value in (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def _differences(groups: Groups) -> str:
    rows = differences(groups) if len(groups) > 1 else []
    return html.section("Differences of the configs", html.table(["value", *groups], rows)) if rows else ""


def _curves(groups: Groups) -> Iterator[str]:
    """Yield a drawing of the losses, of each headline metric, and of what else the log has."""
    logs = {name: [run.logs for run in group] for name, group in groups.items()}
    several = len(groups) > 1
    losses = ("loss", *(() if several else _LOSSES))
    spread = "; the shade is the range of the seeds" if any(len(group) > 1 for group in groups.values()) else ""
    panels: dict[str, tuple[Sequence[str], bool]] = {"loss": (losses, False)}
    panels |= {"validation loss": (("val/loss",), False)} if several else {}
    for key, entry in _metrics(groups).items():
        if key not in _LOSSES:
            panels[entry.words] = ((key,), bool(entry.unit))
    panels |= {title: (keys, False) for title, keys in _CURVES.items()}
    for title, (keys, percent) in panels.items():
        if any(each.get(key) for runs in logs.values() for each in runs for key in keys):
            unit = f"{title} (%)" if percent else title
            yield html.drawing(seeds_figure(logs, keys, unit, percent), f"{title}{spread}")


def _pictures(group: Sequence[RunFacts]) -> str:
    return pictures_of(group[0].folder, group[0].name)


def _configs(groups: Groups) -> str:
    """Return the config of the first run of each group, with the place that sets each value."""
    return "".join(html.details(f"All values of {name}", _config(group[0])) for name, group in groups.items())


def _config(run: RunFacts) -> str:
    if not run.values:
        return html.paragraph("The config is not known: there is no checkpoint that can be read.")
    origins = run.command.origins if run.command else {}
    rows = [[name, value, origins.get(name, "filled in by maetool" if origins else None)] for name, value in run.values]
    return html.table(["value", "is", "set by"], rows)


def _versions(groups: Groups) -> str:
    facts = [dict(run.meta.get("versions") or {}) for group in groups.values() for run in group]
    names = dict.fromkeys(name for each in facts for name in each)
    joined = {name: ", ".join(dict.fromkeys(str(each[name]) for each in facts if name in each)) for name in names}
    seeds = [run.meta.get("seed") for group in groups.values() for run in group]
    joined |= {"seeds": ", ".join(map(str, dict.fromkeys(seeds)))} if any(seed is not None for seed in seeds) else {}
    return table_of(joined, ("what", "version"))


def _commands(group: Sequence[RunFacts]) -> str:
    lines = [run.command.line for run in group if run.command]
    lines = lines or [f"# The command of {group[0].name} was not kept; its config is in {group[0].folder.name}."]
    if group[0].checkpoint is not None:
        lines.append(f"maetool test CONFIG {group[0].folder.name}/{group[0].checkpoint.name}")
    return html.code("\n".join(lines), wrap=True)
