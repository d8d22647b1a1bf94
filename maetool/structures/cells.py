"""The plan of the cells that patches are cut into, for tokens that are finer than patches."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.patches import cell_ids, inverse_permutation

from .layout import Layout
from .plan import MaskPlan


def plan_of_cells(plan: MaskPlan, cells: Sequence[int]) -> MaskPlan:
    """Return the plan of the cells of patches, on a grid that is `cells` times finer.

    A cell is visible, blank, padding or predicted as its patch is, by the same weight. Those of a visible patch enter
    one after another, in C order; `aux` is left out.

    Args:
        plan: of one stream of patches.
        cells: of a patch along each axis.

    Raises:
        UsageError: a layout with coordinates or places that are not valid, which says nothing about cells.
    """
    number, grid = prod(cells), plan.grid
    if number == 1:
        return plan
    if plan.layout.coords is not None or plan.layout.valid is not None:
        raise UsageError(
            "The layout has coordinates or padding of its patches and says nothing about parts of them, but the "
            "decoder reads tokens that are finer than patches: use a layer with one token for each patch."
        )
    finer = tuple(side * cell for side, cell in zip(grid, cells, strict=True))
    entering = cell_ids(inverse_permutation(plan.ids_restore), grid, cells)  # all cells, those of `ids_keep` first
    ids_predict = cell_ids(plan.ids_predict, grid, cells)
    repeated = {name: _repeat(getattr(plan, name), number) for name in ("weight", "group", "blank", "keep_valid")}
    group = repeated["group"]
    order = (ids_predict if group is None else ids_predict + prod(finer) * group).argsort(dim=1)
    for name in ("weight", "group"):
        value = repeated[name]
        repeated[name] = None if value is None else value.gather(1, order)
    return replace(
        plan,
        layout=Layout.of(finer),
        ids_keep=entering[:, : plan.num_keep * number],
        ids_predict=ids_predict.gather(1, order),
        ids_restore=inverse_permutation(entering),
        mask=plan.mask_at(finer).flatten(1),
        aux={},
        sizes={},
        **repeated,
    )


def _repeat(value: Tensor | None, number: int) -> Tensor | None:
    return None if value is None else value.repeat_interleave(number, dim=1)
