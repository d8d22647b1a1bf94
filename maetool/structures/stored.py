"""Plans in files, and the plans of a part of a batch."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .layout import ONLY, Layout
from .plan import MaskPlan


def plan_to_dict(plan: MaskPlan) -> dict[str, Any]:
    """Return a plan on the CPU as what a file can hold: tensors, tuples and dicts."""
    values = {one.name: getattr(plan.to("cpu"), one.name) for one in fields(plan)}
    layout = values.pop("layout")
    values.pop("sizes")  # a function of the tensors
    return {**values, "aux": dict(plan.aux), "layout": {**vars(layout), "grids": dict(layout.grids)}}


def plan_from_dict(values: Mapping[str, Any]) -> MaskPlan:
    """Return the plan that `plan_to_dict` wrote.

    Args:
        values: its entries; files of maetool 0.1 have a `grid` in place of the `layout`.

    Raises:
        TypeError: an unknown entry, or a missing one.
    """
    values = dict(values)
    layout = values.pop("layout", None) or {"grids": {ONLY: values.pop("grid", ())}}
    grids = {name: tuple(grid) for name, grid in layout["grids"].items()}
    return MaskPlan(layout=Layout(**{**layout, "grids": grids}), **values)


def part_of_plan(plan: MaskPlan, samples: slice) -> MaskPlan:
    """Return the plan of some samples of its batch."""
    return plan.mapped(lambda value: value[samples])
