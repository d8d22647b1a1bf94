"""Layers that differ in their width or number of tokens are refused where they cannot be used, in one sentence."""

import pytest
import torch

from maetool.encoders import SwinTransformer
from maetool.errors import UsageError
from maetool.structures import MaskPlan
from maetool.targets import FeatureTarget, MomentumFeatureTarget
from maetool.targets.token_features import TokenFeatures
from maetool.teachers import FrozenTeacher
from maetool.testing import tiny_model

SWIN = {
    "img_size": 32,
    "embed_dim": 8,
    "depths": (1, 1, 1),
    "num_heads": (1, 2, 2),
    "window_size": 2,
    "sees": "visible",
}
ENCODER = {"type": "SwinTransformer", **SWIN}
FACTS = {"grid": 2, "patch_size": 16}
LAYERS = r"takes one token of 32 numbers for each patch, but layer 1 of SwinTransformer has 4 of 16 numbers: name only "


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("FeatureTarget", lambda layers: FeatureTarget(ENCODER, **FACTS, layers=layers)),
        ("MomentumFeatureTarget", lambda layers: MomentumFeatureTarget(SwinTransformer(**SWIN), layers)),
        ("FrozenTeacher", lambda layers: FrozenTeacher(ENCODER, **FACTS, layers=layers)),
        (
            "VisibleDecoder",
            lambda layers: tiny_model(
                encoder=ENCODER,
                tasks={
                    "seen": {
                        "decoder": {"type": "VisibleDecoder", "layer": layers[0]},
                        "at": "visible",
                        "target": {"type": "PixelTarget"},
                        "head": {"type": "RegressionHead"},
                    }
                },
            ),
        ),
        (
            "LayerFusionDecoder",
            lambda layers: tiny_model(
                encoder=ENCODER,
                decoder={
                    "type": "LayerFusionDecoder",
                    "layers": layers,
                    "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "num_heads": 2},
                },
            ),
        ),
    ],
)
def test_layers_of_different_widths_are_refused(name, build):
    with pytest.raises(UsageError, match=f"{name} {LAYERS}such layers as 2, 3"):
        build([1, -1])
    assert build([2, -1]) is not None


def test_teachers_of_others_are_checked_when_they_answer():
    levels, plan = [torch.randn(2, 4, 8), torch.randn(2, 16, 8)], MaskPlan.from_scores(torch.rand(2, 4), 1, (2, 2))
    with pytest.raises(UsageError, match="the teacher gives 4 tokens of 8 numbers and 16 tokens of 8 numbers: name"):
        TokenFeatures(8, 0, "none", False).average(levels, plan)
