"""What every part must keep, as functions that raise AssertionError with a sentence.

maetool runs them over its registries; a plugin runs them over its own parts:

    from maetool.testing import check_masker
    def test_stripes():
        check_masker(StripeMasker(mask_ratio=0.5))
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from maetool._deprecated import moved
from maetool.structures import Layout, MaskPlan

GRIDS = ((4, 4), (2, 8), (14, 14), (7, 5))


def _require(holds: object, promise: str) -> None:
    if not holds:
        raise AssertionError(f"The part breaks its contract: {promise}.")


def _plan(grid: Any, batch_size: int = 3, num_keep: int | None = None) -> MaskPlan:
    generator, length = torch.Generator().manual_seed(1), Layout.of(grid).length
    scores = torch.rand(batch_size, length, generator=generator)
    return MaskPlan.from_scores(scores, num_keep or max(1, length // 4), grid)


def _check_form(part: nn.Module) -> None:
    """The small form that a part's own class states, if it is a dict, is of arguments that the class has."""
    form = vars(type(part)).get("debug_arguments")
    if isinstance(form, Mapping):
        taken = inspect.signature(type(part)).parameters
        _require(set(form) <= set(taken), "debug_arguments names arguments of the class")


def check_head(head: nn.Module, out_dim: int = 12) -> None:
    """A head gives zero for a perfect prediction, something above zero otherwise, and stays finite in bfloat16.

    Args:
        head: to check.
        out_dim: P, numbers or classes per patch.
    """
    plan = _plan((4, 4))
    generator = torch.Generator().manual_seed(0)
    shape = (3, plan.ids_predict.shape[1])
    if getattr(head, "takes_tokens", False):
        target = torch.randint(out_dim, shape, generator=generator)
        perfect = 1e4 * nn.functional.one_hot(target, out_dim).float()
    else:
        target = perfect = torch.randn(*shape, out_dim, generator=generator)
        if getattr(head, "takes_shares", False):  # softmax(perfect / temperature) is the target
            perfect, target = target * head.temperature, target.softmax(dim=-1)
    least = float(head(perfect, target, plan)["loss"])
    _require(least == 0.0 or getattr(head, "contrasts", False), "a perfect prediction costs nothing")
    wrong = torch.randn(*shape, out_dim, generator=generator).requires_grad_()
    loss = head(wrong, target, plan)["loss"]
    regularises = getattr(head, "regularises", False)  # looks at predictions alone
    _require((loss > least or regularises) and loss.ndim == 0, "an error costs something, as one number")
    loss.backward()
    _require(wrong.grad.abs().sum() > 0, "the loss has a gradient")
    if callable(getattr(head, "errors", None)):
        errors = head.errors(wrong, target, plan)
        _require(errors.shape == shape and torch.allclose(plan.average(errors), loss), "the loss is the mean of errors")
    with torch.autocast("cpu", torch.bfloat16):
        low = head(wrong.detach().bfloat16(), target, plan)["loss"]
    _require(low.isfinite() and low.dtype is torch.float32, "the loss is float32 and finite under autocast")
    flat = torch.zeros(*shape, out_dim)
    _require(head(flat, target, plan)["loss"].isfinite(), "the loss of a constant prediction is finite")
    nothing = replace(plan, ids_predict=plan.ids_predict[:, :0])  # as of a stream that a batch does not hide
    finite = all(value.isfinite().all() for value in head(flat[:, :0], target[:, :0], nothing).values())
    _require(finite, "where nothing is predicted, the loss is finite")
    _check_form(head)


__getattr__ = moved(
    __name__,
    {
        "check_decoder": "maetool.testing.decoding.check_decoder",
        "check_encoder": "maetool.testing.encoding.check_encoder",
        "check_masker": "maetool.testing.masking.check_masker",
        "check_target": "maetool.testing.targets.check_target",
    },
    "0.3.0",
)
