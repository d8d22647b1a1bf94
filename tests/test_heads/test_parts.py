"""Errors of parts of a target."""

import pytest
import torch

from maetool.errors import UsageError
from maetool.heads import PartsHead, RegressionHead
from maetool.structures import MaskPlan


@pytest.mark.parametrize("options", [{"loss": "smooth_l1", "beta": 0.5}, {"loss": "l1", "normalise": "length"}])
def test_parts_of_a_target_have_weights(options):
    generator = torch.Generator().manual_seed(0)
    plan = MaskPlan.from_scores(torch.rand(2, 6), 2, (2, 3))
    pred, target = torch.randn(2, 2, 4, 12, generator=generator)
    errors = PartsHead(12, (0.5, 0.0, 2.0), **options).errors(pred, target, plan)
    plain = RegressionHead(**options)
    parts = [plain.errors(pred[..., i : i + 4], target[..., i : i + 4], plan) for i in (0, 4, 8)]
    torch.testing.assert_close(errors, 0.5 * parts[0] + 2.0 * parts[2])


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0), (1.0,) * 5])
def test_weights_that_make_no_sense(weights):
    with pytest.raises(
        UsageError, match=r"must be at least 0, not all 0, and of equal parts of the target.s 12 numbers"
    ):
        PartsHead(12, weights)
