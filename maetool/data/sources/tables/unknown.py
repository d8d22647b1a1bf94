"""Labels that are not known: uncertain and missing cells of a table, and numbers that are no classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from maetool.errors import UsageError

Policy = Literal["refuse", "ignore", "zeros", "ones"]

_BITS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0, "no": 0.0, "yes": 1.0}
_UNCERTAIN = ("-1", "-1.0", "u", "uncertain", "?", "maybe")
_MISSING = ("", "nan", "na", "n/a", "none", "null", "-")
_VALUES = {"ignore": float("nan"), "zeros": 0.0, "ones": 1.0}
REGRESSION = "finetune/regression_vit-t_shapes.py"  # a config that predicts numbers
_FEW = 10  # images, of which all labels may differ
_MANY = 0.5  # numbers with a point are measurements; whole ones are, where more than this share differ


@dataclass(frozen=True)
class UnknownLabels:
    """What uncertain and missing labels of tables with several classes mean.

    Attributes:
        uncertain: of cells with -1, U or ?, as in CheXpert: "ignore" leaves them out of loss and metrics, "zeros" and
            "ones" read them as 0 or 1, and "refuse" does not read such a table.
        missing: the same of empty cells and NaN.

    Raises:
        UsageError: another word.
    """

    uncertain: Policy = "refuse"
    missing: Policy = "refuse"

    def __post_init__(self) -> None:
        for name in ("uncertain", "missing"):
            if getattr(self, name) not in get_args(Policy):
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(get_args(Policy))}."
                )

    def read(self, cell: str) -> float | None:
        """Return the label of a cell: 0, 1, or NaN for one that is ignored; None for one that is not read."""
        word = cell.strip().lower()
        if word in _BITS:
            return _BITS[word]
        policy = self.uncertain if word in _UNCERTAIN else self.missing if word in _MISSING else "refuse"
        return _VALUES.get(policy)

    @staticmethod
    def option_for(cell: str) -> str:
        """Return the name of the option that would read a cell; empty if there is none."""
        word = cell.strip().lower()
        return "uncertain" if word in _UNCERTAIN else "missing" if word in _MISSING else ""


def refuse_measurements(table: str, cells: Sequence[str], column: str = "label", readable: bool = True) -> None:
    """Check that the cells of a column are classes.

    Args:
        table: what to call the table.
        cells: those of the column.
        column: its name.
        readable: the table can be read by `dataset.targets`.

    Args:
        table: what the message calls it.
        cells: its labels.

    Raises:
        UsageError: they are numbers with fractions, or whole ones that seldom repeat.
    """
    numbers = [number for cell in cells if (number := number_in(cell)) is not None]
    if not numbers or len(numbers) < len(cells):
        return
    fractions = any(number % 1 for number in numbers)
    seldom = len(numbers) > _FEW and len(set(numbers)) > _MANY * len(numbers)
    if fractions or seldom:
        way = f"with dataset.targets={column}" if readable else "from a csv table of paths and numbers"
        raise UsageError(
            f"The column `{column}` of {table} holds measurements, {len(set(numbers))} different numbers from "
            f"{min(numbers):g} to {max(numbers):g}: predict them with an ImageRegressor, as in "
            f"maetool::{REGRESSION}, {way}, or write a name for each range of values that is a class."
        )


def number_in(cell: str) -> float | None:
    """Return the finite number that a cell holds, also with a decimal comma; None for anything else."""
    try:
        number = float(cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
