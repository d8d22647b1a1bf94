"""The pages of the documentation and the code blocks in them."""

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "examples/plugin/README.md")
PAGES = [ROOT / name for name in OUTSIDE]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^ *(`{3,})(\w*)")
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
PROGRAM = re.compile(
    r"([A-Z_]+=\S+ )*(\.venv/bin/)?(python|maetool(?= [a-z-])|pip|pytest|make|mkdir|torchrun|sbatch|tools/\w+\.sh)\b"
)


@dataclass(frozen=True)
class Block:
    """A code block: the line where its code begins, its language ("" if none is said) and why it cannot run, if so."""

    line: int
    language: str
    text: str
    not_run: str = ""

    @property
    def kind(self):
        """What it is: "python", "config" (a whole config file), "bash" or "text"."""
        if self.language == "python" or (not self.language and is_python(self.text)):
            return "config" if "_base_ =" in self.text else "python"
        return self.language or ("bash" if is_bash(self.text) else "unknown")


def is_bash(text):
    return all(PROGRAM.match(line) for line in commands_in(text))


def is_python(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return not is_bash(text)


def commands_in(text):
    """Return the commands of a block, one a string, continued lines joined, without lines that only comment."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(path):
    """Return the fenced and the indented code blocks of a page."""
    lines, blocks, number = path.read_text().split("\n"), [], 0
    while number < len(lines):
        fence, start = FENCE.match(lines[number]), number
        if fence:
            end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == fence[1])
            blocks.append(_block(lines, start, start + 1, end, fence[2]))
            number = end
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            blocks.append(_block(lines, start, start, number, ""))
            number -= 1
        number += 1
    return blocks


def _block(lines, above, start, end, language):
    before = next((line for line in reversed(lines[:above]) if line.strip()), "")
    reason = NOT_RUN.fullmatch(before.strip())
    text = textwrap.dedent("\n".join(lines[start:end])).strip("\n") + "\n"
    return Block(start + 1, language, text, reason[1] if reason else "")


def prose_of(path):
    """Return the text of a page without its code."""
    lines = path.read_text().split("\n")
    for block in blocks_of(path):
        count = block.text.count("\n")
        lines[block.line - 1 : block.line - 1 + count] = [""] * count
    return re.sub(r"`[^`\n]*`", "", "\n".join(lines))


def anchors_of(path):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def page_id(path):
    return str(path.relative_to(ROOT))
