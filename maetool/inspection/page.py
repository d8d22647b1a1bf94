"""The report as a page of HTML that holds its pictures and needs nothing else."""

from collections.abc import Iterator, Sequence

from maetool.visualization import html
from maetool.visualization.html import check_page as check_page  # re-exported for the command
from maetool.visualization.overlays import palette_of

from .drawings import Drawing, draw
from .masks import Masks
from .report import Report
from .text import to_text

_NAMES = {"all": "Images", "train": "Training", "val": "Validation", "test": "Test"}


def to_html(report: Report, number: int = 24) -> str:
    """Return the page.

    Args:
        report: what was found.
        number: pictures of each part.
    """
    body = [html.paragraph(f"{report.layout.words}, for {report.layout.task}")]
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
        yield html.section(f"{_NAMES[part.name]}: {len(part.source):,} images", problem, pictures)


def _legend(masks: Masks) -> str:
    colours: Sequence[Sequence[int]] = palette_of(len(masks.classes)).tolist()
    swatches = [
        f'<span class="swatch" style="background: rgb({red},{green},{blue})"></span>{html.text(name)}'
        for name, (red, green, blue) in zip(masks.classes[:60], colours, strict=False)
    ]
    return "".join(swatches) + " <em>Pixels without a colour count nothing.</em>"


def _figure(drawing: Drawing) -> str:
    return html.picture(drawing.picture, drawing.caption, drawing.name)
