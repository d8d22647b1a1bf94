"""What is worth saying about a data set: a sentence each, and how much it matters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
NOTHING = "nothing to learn"  # what findings are about that say that all images are blank, or the same


@dataclass(frozen=True)
class Finding:
    """Something about a data set.

    Attributes:
        severity: "error", a training is refused or its result is wrong; "warning", it may be; "note", good to know.
        about: what it is about, such as "files".
        sentence: what was found, and what to do.
    """

    severity: Severity
    about: str
    sentence: str


def most_severe_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without repetitions, the errors first."""
    return sorted(dict.fromkeys(findings), key=lambda finding: SEVERITIES.index(finding.severity))


def some(names: Sequence[object], number: int = 3) -> str:
    """Return the first `number` of `names`, and how many more there are."""
    more = f" and {len(names) - number:,} more" if len(names) > number else ""
    joint = "; " if any(", " in str(name) or ": " in str(name) for name in names[:number]) else ", "
    return joint.join(map(str, names[:number])) + more
