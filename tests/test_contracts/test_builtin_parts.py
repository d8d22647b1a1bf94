"""Every registered part keeps its contract: a new part is tested by being registered."""

import pytest
import torch
from torch import nn

from maetool.decoders import ProjectionDecoder
from maetool.models.pairing import layout_of
from maetool.registry import CORRUPTIONS, DECODERS, ENCODERS, HEADS, MASKERS, STEMS, TARGETS, TEACHERS, build_part
from maetool.teachers import MomentumTeacher
from maetool.testing import (
    check_corruption,
    check_decoder,
    check_encoder,
    check_head,
    check_masker,
    check_stem,
    check_target,
    check_teacher,
    tiny_batch,
    tiny_model,
)

FACTS = {
    "img_size": (16, 24),
    "patch_size": (8, 4),
    "in_chans": 5,
    "grid": (2, 6),
    "embed_dim": 24,
    "num_heads": 2,
    "depth": 2,
    "encoder_dim": 24,
    "out_dim": 160,
    "num_prefix_tokens": 1,
    "num_layers": 2,
}
INNER = {"type": "TransformerDecoder", "depth": 1, "embed_dim": 16, "num_heads": 2}
SWIN = {"img_size": (64, 32), "patch_size": 4, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window_size": 2}
CODES = {
    "type": "StreamTransformer",
    "stems": {"codes": {"type": "TokenStem", "codebook": 160, "grid": (2, 6)}},
    **{name: FACTS[name] for name in ("embed_dim", "num_heads", "depth")},
}
NEEDED = {
    "BranchDecoder": {"depth": 1, "main_decoder": build_part(INNER, DECODERS, FACTS)},
    "CodebookDecoder": {"decoder": INNER, "encoder": build_part(CODES, ENCODERS), "facts": FACTS},
    "LayerFusionDecoder": {"layers": [0, 2], "decoder": INNER, "facts": FACTS},
    "SwinTransformer": {**SWIN, "embed_dim": 8},
    "StreamTransformer": {
        "stems": {"image": {"type": "PatchStem", "img_size": (16, 24), "patch_size": (8, 4), "in_chans": 5}}
    },
    "TokenStem": {"codebook": 7, "padding": 0},
    "GroupStem": {"groups": [(0, 3), (1,), (4, 2, 0)]},
    "PointStem": {"in_chans": 4, "num_groups": 6, "widths": (8, 8, 8), "padded": True},
    "HybridTransformer": {"conv_dims": (8, 16)},
    "WindowedTransformer": {"window_size": 2, "global_blocks": (1,)},
}


def parts(registry):
    registry.import_from_location()
    return [pytest.param(name, id=name) for name in sorted(registry.module_dict)]


def build(registry, name, **facts):
    torch.manual_seed(0)
    return build_part({"type": name}, registry, {**FACTS, **facts, **NEEDED.get(name, {})})


def masker_config(name, ratio):
    """Arguments beside the ratio that some maskers cannot do without."""
    if name in ("MixedMasker", "ScheduledMasker"):
        parts = [{"type": "RandomMasker", "mask_ratio": ratio}, {"type": "BlockMasker", "mask_ratio": ratio}]
        return {"type": name, "maskers": parts}
    plans = {  # whose ratio is not one number
        "AlsoVisibleMasker": {"masker": {"type": "RandomMasker", "mask_ratio": ratio}, "number": 1},
        "AttentionMasker": {"ratios": (ratio / 2, ratio), "per": "sample", "hint": 0.1},
        "NoMasker": {},
        "GroupMasker": {"images": round(1 / (1 - ratio)) if ratio > 0.5 else 2},
        "MultiBlockMasker": {"per": "sample", "min_keep": 2},
        "VariableMasker": {"ratios": (ratio, 1.0), "drop_ratio": ratio},
    }
    if name in plans:
        return {"type": name, **plans[name]}
    small = {"ColorNoiseMasker": {"bank_size": (64, 32, 32)}, "AdaptiveMasker": {"encoder_dim": 16, "grid": (7, 5)}}
    small["ChangeMasker"] = {"redundancy": ratio / 2}
    return {"type": name, "mask_ratio": ratio, **small.get(name, {})}


MASKER_GRIDS = {
    "AlignedMasker": ((8, 8), (14, 14), (6, 20), (6, 6, 4), (40,)),
    "AdaptiveMasker": ((7, 5),),
    "AlsoVisibleMasker": ((14, 14), (4, 3, 5)),
    "ChangeMasker": ((14, 14), (4, 3, 5)),
    "GridMasker": ((4, 4), (7, 5), (3, 4, 5), (40,)),
    "HardPatchMasker": ((14, 14), (7, 5), (3, 4, 5), {"a": (4, 4), "b": (3, 2, 4)}),
    "MultiBlockMasker": ((14, 14), (7, 9)),
    "RandomMasker": ((4, 4), (7, 5), (3, 4, 5), (40,), {"a": (4, 4), "b": (3, 2, 4)}),
    "StreamMasker": ((7, 5), {"a": (4, 4), "b": (3, 2, 4)}),
    "TubeMasker": ((14, 14), (4, 5, 5), {"a": (2, 4, 4), "b": (3, 9)}),
    "VariableMasker": ((14, 14), (3, 4, 5)),
}


@pytest.mark.parametrize("name", parts(MASKERS))
@pytest.mark.parametrize("ratio", [0.3, 0.75, 0.9])
def test_masker(name, ratio):
    if name == "GivenMasker":
        pytest.skip("has no masks of its own")
    grids = MASKER_GRIDS.get(name, ((4, 4), (2, 8), (14, 14), (7, 5)))
    torch.manual_seed(0)
    check_masker(build_part(masker_config(name, ratio), MASKERS), grids)


ENCODERS.import_from_location()
TARGETS.import_from_location()
VIEWS = [(name, sees) for name, part in sorted(ENCODERS.module_dict.items()) for sees in part.can_see]


@pytest.mark.parametrize(("name", "sees"), VIEWS)
def test_encoder(name, sees):
    encoder = build(ENCODERS, name, sees=sees)
    assert encoder.sees == sees
    check_encoder(encoder)


INPUTS = {
    "PatchStem": torch.randn(3, 5, 16, 24),
    "GroupStem": torch.randn(3, 5, 16, 24),
    "TokenStem": torch.randint(7, (3, 2, 6)),
    "PointStem": torch.randn(3, 6, 9, 4),
}


@pytest.mark.parametrize("name", parts(STEMS))
def test_stem(name):
    check_stem(build(STEMS, name), INPUTS[name])


@pytest.mark.parametrize("name", parts(DECODERS))
def test_decoder(name):
    check_decoder(build(DECODERS, name), 24, 160, (2, 6))


SMALL_ENCODER = {"type": "VisionTransformer"} | {
    name: FACTS[name] for name in ("img_size", "patch_size", "in_chans", "embed_dim", "num_heads", "depth")
}
SMALL = {"img_size": (16, 24), "patch_size": (8, 4)}
STREAMS = {
    "type": "StreamTransformer",
    "stems": {
        "bands": {
            "type": "GroupStem",
            "img_size": (16, 24),
            "patch_size": (8, 4),
            "groups": {"near": [0, 3, 4], "far": [1]},
        }
    },
    **{name: FACTS[name] for name in ("embed_dim", "num_heads", "depth")},
}
TARGET_OPTIONS = {  # what some targets cannot do without
    "CellTarget": [{"target": {"type": "PixelTarget"}, "cell_size": 2}],
    "FeatureTarget": [
        {"teacher": SMALL_ENCODER},
        {"teacher": SMALL_ENCODER, "layers": [1, -1], "normalise": "length"},
        {"teacher": SMALL_ENCODER, "sees": "visible"},
    ],
    "MomentumFeatureTarget": [{}, {"normalise": "layer", "sees": "predicted", "momentum": 0.0, "schedule": "constant"}],
    "StreamTarget": [
        {"targets": {"type": "PixelTarget"}},
        {"targets": {"type": "PixelTarget", "norm_pix_loss": False}, "norm_pix_loss": True},
    ],
    "TeacherFeatureTarget": [{}, {"combine": "concatenate", "normalise": "layer"}],
    "TeacherPredictionTarget": [{"out_dim": 24}],
    "TokenTarget": [{"codebook": 7, "source": {"type": "HOGTarget"}}],
}
TARGET_CASES = [(name, i) for name in sorted(TARGETS.module_dict) for i in range(len(TARGET_OPTIONS.get(name, [{}])))]


@pytest.mark.parametrize(("name", "number"), TARGET_CASES)
def test_target(name, number):
    images = torch.randn(3, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    several, grid = name == "StreamTarget", (2, 6)
    encoder = build_part({"StreamTarget": STREAMS, "IdTarget": CODES}.get(name, SMALL_ENCODER), ENCODERS)
    images = torch.randint(160, (3, *grid)) if name == "IdTarget" else images
    facts = {**FACTS, "encoder": encoder, "model_teacher": MomentumTeacher(encoder, [1, 2])}
    target = build_part({"type": name, **TARGET_OPTIONS.get(name, [{}])[number]}, TARGETS, facts)
    facts["model_teacher"].attach(
        nn.ModuleDict({"encoder": encoder, "decoder": ProjectionDecoder(24, 24, of="patches")})
    )
    check_target(target, images, {"near": grid, "far": grid} if several else grid)


@pytest.mark.parametrize("name", parts(HEADS))
def test_head(name):
    options = {"StreamHead": {"head": {"type": "RegressionHead"}, "out_dims": {"image": 12}}}
    facts = {**FACTS, "out_dim": 12, **NEEDED.get(name, {}), **options.get(name, {})}
    torch.manual_seed(0)
    check_head(build_part({"type": name}, HEADS, facts))


@pytest.mark.parametrize("name", parts(TEACHERS))
def test_teacher(name):
    options = {"FrozenTeacher": {"teacher": tiny_model().encoder}}
    model = tiny_model(teacher={"type": name, **options.get(name, {})})
    images = model.data_preprocessor(tiny_batch())["images"]
    check_teacher(model.teacher, images, layout_of(model.encoder, images), model)


@pytest.mark.parametrize("name", parts(CORRUPTIONS))
def test_corruption(name):
    options = {"NearestCodeCorruption": {"codebook": 7}}
    images = torch.randn(3, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    check_corruption(build_part({"type": name, **options.get(name, {})}, CORRUPTIONS, FACTS), images, (2, 6))
