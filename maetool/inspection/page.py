"""The report as a page of HTML that holds its pictures and needs nothing else."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from maetool.errors import UsageError, printable
from maetool.visualization.overlays import palette_of
from maetool.writing import check_file

from .drawings import Drawing, draw
from .masks import Masks
from .report import Report
from .text import to_text

_NAMES = {"all": "Images", "train": "Training", "val": "Validation", "test": "Test"}
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 1160px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 21px; margin-bottom: 4px; } h2 { font-size: 17px; margin: 30px 0 10px; }
table { border-collapse: collapse; } td { padding: 5px 10px 5px 0; vertical-align: top; border-top: 1px solid #ddd; }
td.error, td.warning, td.note { white-space: nowrap; font-weight: 600; }
td.error { color: #a40000; } td.warning { color: #8a5a00; } td.note { color: #555; }
pre { background: #f5f5f5; padding: 12px; overflow-x: auto; font-size: 13px; line-height: 1.4; }
.pictures { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
figure { margin: 0; max-width: 330px; } figure img { max-width: 100%; min-width: 90px; display: block; }
figcaption { font-size: 12px; overflow-wrap: anywhere; } figcaption span { color: #666; }
.swatch { display: inline-block; width: 12px; height: 12px; margin: 0 5px 0 14px; border: 1px solid #888; }
"""


def check_page(path: str | Path) -> None:
    """Check that a page can be written later.

    Raises:
        UsageError: another ending than .html, or a path that cannot be written.
    """
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--page is {path}, but must end in .html.")
    check_file(path, "--page")


def to_html(report: Report, number: int = 24) -> str:
    """Return the page.

    Args:
        report: what was found.
        number: pictures of each part.
    """
    body = [f"<h1>{_text(report.data)}</h1>", f"<p>{_text(report.layout.words)}, for {report.layout.task}</p>"]
    body += [*_findings(report), *_parts(report, number), "<h2>All that was found</h2>"]
    body.append(f"<pre>{escape(to_text(report))}</pre>")
    head = f'<meta charset="utf-8"><title>{_text(report.data)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _findings(report: Report) -> Iterator[str]:
    rows = [
        f'<tr><td class="{finding.severity}">{finding.severity}</td><td>{_text(finding.sentence)}</td></tr>'
        for finding in report.findings
    ]
    yield "<h2>Findings</h2>"
    yield f"<table>{''.join(rows)}</table>" if rows else "<p>Nothing stands out.</p>"


def _parts(report: Report, number: int) -> Iterator[str]:
    if report.masks:
        yield f"<h2>Classes of the masks</h2><p>{_legend(report.masks)}</p>"
    for part in report.parts:
        yield f"<h2>{_NAMES[part.name]}: {len(part.source):,} images</h2>"
        if part.dataset is None:
            yield f"<p>Nothing can be drawn: {_text(part.problem)}</p>"
        yield f'<div class="pictures">{"".join(map(_figure, draw(part, number)))}</div>'


def _legend(masks: Masks) -> str:
    colours: Sequence[Sequence[int]] = palette_of(len(masks.classes)).tolist()
    swatches = [
        f'<span class="swatch" style="background: rgb({red},{green},{blue})"></span>{_text(name)}'
        for name, (red, green, blue) in zip(masks.classes[:60], colours, strict=False)
    ]
    return "".join(swatches) + " <em>Pixels without a colour count nothing.</em>"


def _figure(drawing: Drawing) -> str:
    caption = f"{_text(drawing.caption)}<br><span>{_text(drawing.name)}</span>"
    return f'<figure><img alt="" src="{_data_uri(drawing.picture)}"><figcaption>{caption}</figcaption></figure>'


def _data_uri(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _text(text: str) -> str:
    return escape(printable(text))
