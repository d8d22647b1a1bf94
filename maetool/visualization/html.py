"""Pages of HTML that hold their pictures and need nothing else: no server, no other file, nothing from a network."""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from maetool.errors import UsageError, printable
from maetool.writing import check_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = "#010203"  # what matplotlib draws in the colour of the page's text
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(e[-+]?\d+)?", re.IGNORECASE)
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_QUALITIES = (88, 70, 50)  # of JPEG
_ids = count()
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #666; --line: #ddd; --box: #f5f5f5;
  --link: #00589c; --bad: #a40000; --doubt: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --soft: #a3a8b0; --line: #3a3e46; --box: #22252b;
    --link: #7db9f0; --bad: #ff8a80; --doubt: #f0c060; }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1160px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 21px; margin-bottom: 4px; } h2 { font-size: 17px; margin: 30px 0 10px; }
a { color: var(--link); } nav a { margin-right: 14px; }
a:focus-visible, button:focus-visible, summary:focus-visible, .wide:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px; }
.wide { overflow-x: auto; } .wide img { max-width: none; }
table { border-collapse: collapse; } td, th { padding: 5px 14px 5px 0; vertical-align: top; text-align: left; }
td { border-top: 1px solid var(--line); overflow-wrap: anywhere; } td.number { font-variant-numeric: tabular-nums; }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
td.error, td.warning, td.note { white-space: nowrap; font-weight: 600; }
td.error { color: var(--bad); } td.warning { color: var(--doubt); } td.note { color: var(--soft); }
pre { background: var(--box); padding: 12px; overflow-x: auto; font-size: 12px; line-height: 1.4; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
svg, .wide img, figure img { max-width: 100%; height: auto; display: block; }
.pictures { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
figure { margin: 0 0 14px; } .pictures figure { max-width: 330px; } .pictures img { min-width: 90px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 0 24px; }
figcaption { font-size: 12px; overflow-wrap: anywhere; } figcaption span, .soft { color: var(--soft); }
summary { cursor: pointer; padding: 4px 0; }
.swatch { display: inline-block; width: 12px; height: 12px; margin: 0 5px 0 14px; border: 1px solid var(--soft); }
"""
# A click, Enter or Space on the head of a column sorts its table; numbers by value, empty cells last.
SCRIPT = """
"use strict";
function order(keys, descending) {
  const sign = descending ? -1 : 1, numeric = keys.every(key => key === "" || !Number.isNaN(Number(key)));
  return keys.map((key, row) => row).sort((a, b) => {
    if (keys[a] === "" || keys[b] === "") return (keys[a] === "") - (keys[b] === "") || a - b;
    const by = numeric ? Number(keys[a]) - Number(keys[b]) : keys[a].localeCompare(keys[b]);
    return sign * by || a - b;
  });
}
function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0], rows = [...body.rows];
  const descending = heads[column].getAttribute("aria-sort") === "ascending";
  const keys = rows.map(row => row.cells[column].dataset.key ?? row.cells[column].textContent.trim());
  for (const row of order(keys, descending)) body.append(rows[row]);
  heads.forEach(head => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}
for (const table of document.querySelectorAll("table.sortable"))
  [...table.tHead.rows[0].cells].forEach((head, column) =>
    head.querySelector("button").addEventListener("click", () => sortBy(table, column)));
"""


def check_page(path: str | Path, option: str = "--page") -> Path:
    """Return the path of a page that is written later, after checking that this is possible.

    Args:
        path: the file.
        option: the option that names it.

    Raises:
        UsageError: another ending than .html, or a path that cannot be written.
    """
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{option} is {path}, but must end in .html.")
    return check_file(path, option)


def page(title: str, body: Iterable[str]) -> str:
    """Return a page; its policy forbids the browser to load anything.

    Args:
        title: plain text, also the first heading.
        body: pieces of HTML, made by the other functions here.
    """
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
    head += f"<title>{text(title)}</title><style>{_STYLE}</style>"
    pieces = [f"<h1>{text(title)}</h1>", *body]
    content = "\n".join(filter(None, pieces))
    content += f"\n<script>{SCRIPT}</script>" if 'class="sortable"' in content else ""
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{content}\n</body></html>\n'


def text(words: str) -> str:
    """Return plain text, `words`, as HTML."""
    return escape(printable(words))


def paragraph(words: str) -> str:
    """Return plain text, `words`, as a paragraph."""
    return f"<p>{text(words)}</p>"


def section(title: str, *pieces: str) -> str:
    """Return a section with a heading that a link of `contents` leads to; empty if it has no content.

    Args:
        title: plain text.
        pieces: HTML.
    """
    inside = "\n".join(filter(None, pieces))
    return f'<h2 id="{_anchor(title)}">{text(title)}</h2>\n{inside}' if inside else ""


def contents(sections: Sequence[str]) -> str:
    """Return links to the headings of sections."""
    found = [match for each in sections for match in re.findall(r'<h2 id="([^"]+)">([^<]*)</h2>', each)]
    return "<nav>" + "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in found) + "</nav>"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table that can be sorted by any column, with the mouse or the keyboard.

    Args:
        heads: names of the columns, plain text.
        rows: cells: text, numbers, or None for an empty cell. Text that begins with a number sorts as that number, if
            all cells of its column do.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    numeric = [all(_NUMBER.match(cell) for cell in column if cell) for column in zip(*cells, strict=True)]
    lines = "\n".join(
        f"<tr>{''.join(_cell(cell, is_number) for cell, is_number in zip(row, numeric, strict=True))}</tr>"
        for row in cells
    )
    names = "".join(f'<th scope="col"><button type="button">{text(head)}</button></th>' for head in heads)
    head = f"<thead><tr>{names}</tr></thead>"
    return f'<div class="wide" tabindex="0"><table class="sortable">{head}<tbody>{lines}</tbody></table></div>'


def _cell(cell: str, is_number: bool) -> str:
    match = _NUMBER.match(cell) if is_number else None
    key = f' class="number" data-key="{match[0].replace(",", "")}"' if match else ""
    return f"<td{key}>{text(cell)}</td>"


def details(title: str, *pieces: str) -> str:
    """Return content that opens on a click, or with Enter; plain `title`, pieces of HTML."""
    return f"<details><summary>{text(title)}</summary>\n{''.join(pieces)}</details>"


def columns(*pieces: str) -> str:
    """Return pieces of HTML side by side, as many as there is room for; empty without any."""
    return f'<div class="columns">{"".join(pieces)}</div>' if pieces else ""


def code(lines: str, wrap: bool = False) -> str:
    """Return lines in a font of one width, as they are; with `wrap` broken where the page ends, as suits commands."""
    kind = ' class="wrap"' if wrap else ""
    return f'<pre{kind} tabindex="0">{escape(lines)}</pre>'


def prose(lines: str) -> str:
    """Return lines as paragraphs; those that spaces align, as in a table, in a font of one width."""
    written = [line for line in lines.splitlines() if line.strip()]
    pieces: list[str] = []
    for aligned, group in groupby(written, key=lambda line: "  " in line):
        block = list(group)
        pieces += [code("\n".join(block))] if aligned else map(paragraph, block)
    return "".join(pieces)


def picture(array: np.ndarray, caption: str = "", note: str = "", largest: int | None = None) -> str:
    """Return a picture, uint8 (H, W, 3) or (H, W), as JPEG with a caption.

    Args:
        array: the picture.
        caption: plain text, which is also read aloud in the place of the picture.
        note: plain text below the caption.
        largest: bytes of the JPEG, which a lower quality and then fewer pixels keep to; None for the best quality.
    """
    content = _jpeg(array, _QUALITIES[0])
    for quality in _QUALITIES[1:]:
        if largest and len(content) > largest:
            content = _jpeg(array, quality)
    while largest and len(content) > largest and max(array.shape[:2]) > 1:
        array = smaller(array, max(array.shape[:2]) * 3 // 4)
        content = _jpeg(array, _QUALITIES[-1])
    data = base64.b64encode(content).decode("ascii")
    below = f"{text(caption)}{f'<br><span>{text(note)}</span>' if note else ''}"
    under = f"<figcaption>{below}</figcaption>" if below else ""
    return f'<figure><img alt="{text(caption)}" src="data:image/jpeg;base64,{data}">{under}</figure>'


def _jpeg(array: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    return file.getvalue()


def smaller(array: np.ndarray, longest: int) -> np.ndarray:
    """Return a picture, `array` uint8 (H, W, 3), shrunk to at most `longest` pixels along each side."""
    scale = longest / max(array.shape[:2])
    if scale >= 1:
        return array
    size = (max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale)))
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS))


def drawing(figure: "Figure", caption: str) -> str:
    """Return a matplotlib figure as SVG: its text, axes and grid have the colour of the page's text, also in the dark.

    Args:
        figure: see `maetool.visualization.pictures.new_figure`.
        caption: plain text, which is also read aloud in the place of the drawing.
    """
    import matplotlib

    _ink(figure)
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"maetool{next(_ids)}"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = file.getvalue().decode()
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    drawn = drawn.replace(_INK, "currentColor").replace("<svg", f'<svg role="img" aria-label="{text(caption)}"', 1)
    return f"<figure>{drawn}<figcaption>{text(caption)}</figcaption></figure>"


def _ink(figure: "Figure") -> None:
    """Colour what has the colour of text."""
    from matplotlib.text import Text

    inside = {words for axes in figure.axes for words in axes.texts}  # on coloured cells
    for words in set(figure.findobj(Text)) - inside:
        words.set_color(_INK)
    for axes in figure.axes:
        axes.tick_params(color=_INK)
        for spine in axes.spines.values():
            spine.set_color(_INK)
        legend = axes.get_legend()
        if legend:
            legend.get_frame().set_alpha(0)
