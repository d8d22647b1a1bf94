"""What travels between the parts: where the tokens lie, and the plan of what is hidden and predicted."""

from .cells import plan_of_cells
from .layout import Bounds, Layout, tensors_of
from .plan import MaskPlan
from .several import (
    join_plans,
    plan_of_counts,
    plan_of_predicted,
    plan_of_stream,
    scores_without_padding,
    tokens_of_stream,
)
from .stored import part_of_plan, plan_from_dict, plan_to_dict
from .whole import plan_of_all

__all__ = [
    "Bounds",
    "Layout",
    "MaskPlan",
    "join_plans",
    "part_of_plan",
    "plan_from_dict",
    "plan_of_all",
    "plan_of_cells",
    "plan_of_counts",
    "plan_of_predicted",
    "plan_of_stream",
    "plan_to_dict",
    "scores_without_padding",
    "tensors_of",
    "tokens_of_stream",
]
