"""Pixels of clips."""

import pytest
import torch

from maetool.errors import UsageError
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget


def test_channels_of_a_clip_are_normalised_by_themselves():
    target = PixelTarget((2, 4, 4), norm_pix_loss="channel")
    clip = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 9]).view(
        3, 1, 1, 1
    )
    plan = MaskPlan.from_scores(torch.rand(2, 8), 2, (2, 2, 2)).validate()
    patches = target(clip, plan).view(2, 6, 32, 3)
    torch.testing.assert_close(patches.mean(dim=2), torch.zeros(2, 6, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(patches.std(dim=2), torch.ones(2, 6, 3), atol=1e-4, rtol=0)
    pixels = target.invert(target(clip, plan), clip, plan)
    torch.testing.assert_close(pixels, plan.take_predicted(patchify(clip, (2, 4, 4))), atol=1e-4, rtol=0)
    assert target(torch.ones_like(clip), plan).eq(0).all()
    with pytest.raises(UsageError, match="norm_pix_loss is 'all'"):
        PixelTarget(4, norm_pix_loss="all")
