"""Every size that a registered part takes may be one number, a tuple or a list."""

import inspect

import pytest
import torch

from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.registry import DECODERS, ENCODERS, MASKERS, TARGETS, build_part
from maetool.structures import MaskPlan

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
VIT = {"type": "VisionTransformer", **TINY}
FACTS = {**TINY, "grid": 4, "encoder_dim": 16, "out_dim": 48, "num_layers": 2, "encoder": None}
SWIN = {"img_size": 32, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2}
SIZES = ("img_size", "patch_size", "grid", "unit", "cell_size", "patches_per_token")
VALUES = {"img_size": 16, "patch_size": 4, "grid": 4, "unit": 2, "cell_size": 2, "patches_per_token": 1}
MORE = {
    "AdaptiveMasker": {"mask_ratio": 0.75},
    "SwinTransformer": SWIN,
    "HybridTransformer": {"conv_dims": [8, 8]},
    "WindowedTransformer": {"window_size": 2, "global_blocks": [1]},
    "TimmEncoder": {"name": "vit_tiny_patch16_224"},
    "CellTarget": {"target": {"type": "PixelTarget"}},
    "FeatureTarget": {"teacher": VIT},
    "MomentumFeatureTarget": {"encoder": build_part(VIT, ENCODERS)},
    "TokenTarget": {"codebook": 8, "source": {"type": "FeatureTarget", "teacher": VIT}},
    "LayerFusionDecoder": {
        "layers": [0, 2],
        "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
        "facts": FACTS,
    },
}
FORMS = {"number": lambda n: n, "tuple": lambda n: (n, n), "list": lambda n: [n, n]}


def sized_parts():
    for registry in (MASKERS, ENCODERS, DECODERS, TARGETS):
        registry.import_from_location()
        for name, part in sorted(registry.module_dict.items()):
            taken = inspect.signature(part).parameters
            if any(size in taken for size in SIZES):
                yield pytest.param(registry, name, [size for size in SIZES if size in taken], id=name)


def run(registry, part):
    """Return what a part gives on a grid of 4 x 4 patches, or on what fits it."""
    torch.manual_seed(1)
    plan = MaskPlan.from_scores(torch.rand(2, 16), 4, (4, 4))
    images = torch.randn(2, 3, *getattr(part, "img_size", (16, 16)))
    if registry is MASKERS:
        clues = {name: torch.randn(2, 16, 16) for name in part.needs}
        return part(images, (4, 4), keys=torch.arange(2), clues=clues).mask.float()
    if registry is ENCODERS:
        return part.eval()(images)
    if registry is TARGETS:
        return part(images, plan).float()
    seen = plan.num_keep if "visible" in part.reads else 16
    seen = plan.ids_predict.shape[1] - 1 if "predicted" in part.reads else seen  # has no prefix
    tokens = [torch.randn(2, 1 + seen, 16) for _ in getattr(part, "layers", None) or [None]]
    memory = {"memory": torch.randn(2, 17, 16)} if getattr(part, "takes_memory", False) else {}
    return part(tokens if getattr(part, "layers", None) else tokens[0], plan, **memory)


@pytest.mark.parametrize(("registry", "name", "sizes"), list(sized_parts()))
def test_a_size_in_every_form_makes_the_same_part(registry, name, sizes):
    outputs = []
    for form in FORMS.values():
        torch.manual_seed(0)
        more = MORE.get(name, {})
        stated = {size: form(more.get(size, VALUES[size])) for size in sizes}
        outputs.append(run(registry, build_part({"type": name, **more, **stated}, registry, FACTS)))
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_part_may_state_a_fact_of_the_encoder_in_every_form(form):
    target = {"type": "LowFrequencyTarget", "patch_size": form(4), "mean": [1.0] * 3, "std": [2.0] * 3}
    decoder = {"type": "TransformerDecoder", "grid": form(4), "embed_dim": 16, "depth": 1, "num_heads": 2}
    preprocessor = {"type": "ImagePreprocessor", "mean": [1.0] * 3, "std": [2.0] * 3}
    head = {"type": "RegressionHead"}
    model = MaskedImageModel(RandomMasker(), {**VIT, "img_size": form(16)}, decoder, target, head, preprocessor)
    assert model.target.patch_size == (4, 4)
    assert model.decoder.grid == (4, 4)
