"""The report as a page of HTML that holds its pictures and needs nothing else."""

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from maetool.data.sources.urls import is_url
from maetool.messages import plural
from maetool.visualization import html
from maetool.visualization.html import check_page as check_page  # re-exported for the command
from maetool.visualization.overlays import palette_of
from maetool.writing import write_text

from .drawings import Drawing, draw
from .masks import Masks
from .report import Report
from .text import to_text

_MARK_WITHIN = 2**16  # bytes at the beginning of a page
_NAMES = {"all": "Images", "train": "Training", "val": "Validation", "test": "Test"}


def write_page(path: str | Path, report: Report, number: int = 24) -> None:
    """Write the page to `path`; the others as in `to_html`."""
    write_text(path, to_html(report, number))


def try_to_write(report: Report, number: int = 24) -> tuple[Path | None, str]:
    """Write the page to work_dirs/check_NAME.html, or beside the page of other data of that name; nothing is raised.

    Args:
        report: what was found.
        number: pictures of each part.

    Returns:
        The page, or None and the reason, because a check whose page fails has its findings nevertheless.
    """
    try:
        path = _place_of(report.data)
        write_page(check_page(path, "Its place"), report, number)
    except Exception as error:
        return None, next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")[:300]
    return path, ""


def _place_of(data: str) -> Path:
    """Return where the page of `data` goes: there is none, or it is of the same data."""
    name = (
        re.sub(r"[^\w.-]+", "_", Path(data).stem if is_url(data) else Path(data).expanduser().resolve().stem) or "data"
    )
    for number in count(1):
        path = Path("work_dirs", f"check_{name}.html" if number == 1 else f"check_{name}_{number}.html")
        if not path.exists() or _mark(data) in _beginning(path):
            return path
    raise AssertionError("numbers do not end")


def _beginning(path: Path) -> str:
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return file.read(_MARK_WITHIN).decode("utf-8", "replace")


def _mark(data: str) -> str:
    """Return a comment that tells the page of `data` from others, without the place of it on this machine."""
    whole = data if is_url(data) else str(Path(data).expanduser().resolve())
    return f"<!-- maetool check {zlib.crc32(whole.encode('utf-8', 'surrogateescape')):08x} -->"


def to_html(report: Report, number: int = 24) -> str:
    """Return the page.

    Args:
        report: what was found.
        number: pictures of each part.
    """
    body = [_mark(report.data), html.paragraph(f"{report.layout.words}, for {report.layout.task}")]
    body += [_findings(report), *_parts(report, number)]
    return html.page(report.data, [*body, html.section("All that was found", html.code(to_text(report)))])


def _findings(report: Report) -> str:
    rows = [
        f'<tr><td class="{finding.severity}">{finding.severity}</td><td>{html.text(finding.sentence)}</td></tr>'
        for finding in report.findings
    ]
    return html.section("Findings", f"<table>{''.join(rows)}</table>" if rows else "<p>Nothing stands out.</p>")


def _parts(report: Report, number: int) -> Iterator[str]:
    if report.masks:
        yield html.section("Classes of the masks", f"<p>{_legend(report.masks)}</p>")
    for part in report.parts:
        problem = html.paragraph(f"Nothing can be drawn: {part.problem}") if part.dataset is None else ""
        pictures = f'<div class="pictures">{"".join(map(_figure, draw(part, number)))}</div>'
        yield html.section(f"{_NAMES[part.name]}: {plural(len(part.source), 'image')}", problem, pictures)


def _legend(masks: Masks) -> str:
    colours: Sequence[Sequence[int]] = palette_of(len(masks.classes)).tolist()
    swatches = [
        f'<span class="swatch" style="background: rgb({red},{green},{blue})"></span>{html.text(name)}'
        for name, (red, green, blue) in zip(masks.classes[:60], colours, strict=False)
    ]
    return "".join(swatches) + " <em>Pixels without a colour count nothing.</em>"


def _figure(drawing: Drawing) -> str:
    return html.picture(drawing.picture, drawing.caption, drawing.name)
