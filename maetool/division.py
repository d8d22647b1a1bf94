"""Work that several machines divide: which part is whose, and the files that the parts leave until they are joined."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UsageError

_NAME = re.compile(r"\.part-(\d{5,})-of-(\d{5,})$")


class Part(NamedTuple):
    """A part of some work; printed as `number/total`.

    Attributes:
        number: which part, from 0.
        total: number of parts.
    """

    number: int
    total: int

    @classmethod
    def of(cls, text: str) -> "Part":
        """Return the part that a text such as "3/16" names.

        Raises:
            UsageError: it is of another form, or there is no such part.
        """
        match = re.fullmatch(r"\s*(\d{1,5})\s*/\s*(\d{1,5})\s*", text)
        part = cls(int(match[1]), int(match[2])) if match else cls(0, 0)
        if part.number >= part.total:
            raise UsageError(
                f"The part is {text!r}, but must be I/N with I from 0 to N - 1, such as 0/16 to 15/16 on 16 machines."
            )
        return part

    def __str__(self) -> str:
        """Return the text that names the part."""
        return f"{self.number}/{self.total}"

    def range_of(self, units: int) -> range:
        """Return this part's share of some units: consecutive, disjoint from the others, and together complete."""
        return range(units * self.number // self.total, units * (self.number + 1) // self.total)

    def file_beside(self, path: Path) -> Path:
        """Return the name of the file that this part leaves beside `path`, where all are joined."""
        return path.with_name(f"{path.stem}.part-{self.number:05d}-of-{self.total:05d}{path.suffix}")


def part_files(path: Path) -> dict[Part, Path]:
    """Return the files that parts left beside `path`, in order."""
    found = {}
    for file in path.parent.glob(f"*{path.suffix}"):
        name = file.stem
        match = _NAME.search(name)
        if match and name[: match.start()] == path.stem:
            found[Part(int(match[1]), int(match[2]))] = file
    return dict(sorted(found.items()))


def remove_parts(path: Path) -> None:
    """Remove the files of parts that are joined to `path`."""
    for file in part_files(path).values():
        file.unlink(missing_ok=True)


def complete_parts(path: Path) -> dict[Part, Path]:
    """Return the files of all parts beside `path`, in order.

    Raises:
        UsageError: there are none, some are missing, or they are of several divisions.
    """
    found = part_files(path)
    if not found:
        raise UsageError(f"There is no part of {path} to join: run the command with --part 0/N to N-1/N first.")
    totals = sorted({part.total for part in found})
    if len(totals) > 1:
        numbers = " and of ".join(map(str, totals))
        raise UsageError(
            f"Beside {path} lie parts of {numbers}, which overlap: delete the files of one division, such as "
            f"{found[next(part for part in found if part.total == totals[0])]}."
        )
    missing = [str(part) for number in range(totals[0]) if (part := Part(number, totals[0])) not in found]
    if missing:
        raise UsageError(
            f"{len(missing)} of {totals[0]} parts of {path} are missing ({', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}): run the command with --part {missing[0]} first."
        )
    return found


def check_part(part: Part, file: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare what a part's file says of its making with what this command would make.

    Args:
        part: which part the file's name says.
        file: the file.
        found: its `part`, as text, and the settings that it was made with.
        expected: the settings of this command.

    Raises:
        UsageError: it is another part, or was made otherwise.
    """
    if found.get("part") != str(part):
        raise UsageError(
            f"{file} holds part {found.get('part')}, not {part}: delete it, and run the command with --part {part}."
        )
    if differ := differences(found, expected):
        raise UsageError(
            f"{file} was made otherwise ({', '.join(differ)}): join with the arguments that made it, or run the "
            f"command with --part {part} again."
        )


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Sequence[str]:
    """Return a phrase for each expected value that is another in `found`."""
    return [f"{key} {found.get(key)} instead of {value}" for key, value in expected.items() if found.get(key) != value]
