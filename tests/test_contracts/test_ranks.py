"""Every registered part on one to three axes keeps its contract, or is refused in a sentence where a table says so."""

from math import prod

import pytest
import torch
from test_builtin_parts import CODES, FACTS, INNER, NEEDED, STREAMS, TARGET_CASES, TARGET_OPTIONS, masker_config, parts
from torch import nn

from maetool.decoders import ProjectionDecoder
from maetool.errors import UsageError
from maetool.models.pairing import layout_of
from maetool.registry import CORRUPTIONS, DECODERS, ENCODERS, MASKERS, STEMS, TARGETS, TEACHERS, build_part
from maetool.teachers import MomentumTeacher
from maetool.testing import (
    check_corruption,
    check_decoder,
    check_encoder,
    check_masker,
    check_stem,
    check_target,
    check_teacher,
    tiny_model,
)

SIZES = {1: (24,), 2: (16, 24), 3: (4, 16, 24)}
PATCHES = {1: (4,), 2: (8, 4), 3: (2, 8, 4)}
GRIDS = {rank: tuple(s // p for s, p in zip(SIZES[rank], PATCHES[rank], strict=True)) for rank in SIZES}
MASKED = {1: (40,), 2: (8, 8), 3: (4, 6, 6)}
ONLY_PICTURES = {
    *("BlockMasker", "ColorNoiseMasker", "InverseBlockMasker", "MultiBlockMasker", "ScaledDecoder"),
    *("HOGTarget", "LowFrequencyTarget", "HybridTransformer", "SwinTransformer", "TimmEncoder", "WindowedTransformer"),
    "MixedMasker",  # of a BlockMasker
    "TokenTarget",  # of a HOGTarget
}
ONLY_SLICES = {"TubeMasker"}  # of two axes all is one slice; a series has none
RANKS = pytest.mark.parametrize("rank", SIZES)


def check(name, rank, run):
    refused = (name in ONLY_PICTURES and rank != 2) or (name in ONLY_SLICES and rank == 1)
    torch.manual_seed(0)
    if not refused:
        run()
        return
    with pytest.raises(UsageError, match=r"\."):
        run()


def facts_of(rank):
    patch = PATCHES[rank]
    sizes = {"img_size": SIZES[rank], "patch_size": patch, "grid": GRIDS[rank], "out_dim": 5 * prod(patch)}
    return {**FACTS, **sizes, "patches_per_token": (1,) * rank}


def vit(rank, **more):
    names = ("img_size", "patch_size", "in_chans", "embed_dim", "num_heads", "depth")
    return {"type": "VisionTransformer", **{name: facts_of(rank)[name] for name in names}, **more}


def codes(rank):
    stem = {"type": "TokenStem", "codebook": facts_of(rank)["out_dim"], "grid": GRIDS[rank]}
    return {**CODES, "stems": {"codes": stem}}


@RANKS
@pytest.mark.parametrize("name", parts(MASKERS))
def test_masker(name, rank):
    if name == "GivenMasker":
        pytest.skip("has no masks of its own")
    config = masker_config(name, 0.5)
    config |= {"grid": MASKED[rank]} if name == "AdaptiveMasker" else {}
    check(name, rank, lambda: check_masker(build_part(config, MASKERS), (MASKED[rank],)))


@RANKS
@pytest.mark.parametrize("name", parts(DECODERS))
def test_decoder(name, rank):
    facts = facts_of(rank)
    more = {
        "CodebookDecoder": {"decoder": INNER, "encoder": build_part(codes(rank), ENCODERS), "facts": facts},
        "LayerFusionDecoder": {"layers": [0, 2], "decoder": INNER, "facts": facts},
        "BranchDecoder": {"depth": 1, "main_decoder": build_part(INNER, DECODERS, facts)},
    }
    config = {**facts, **more.get(name, {})}
    check(
        name,
        rank,
        lambda: check_decoder(build_part({"type": name}, DECODERS, config), 24, facts["out_dim"], GRIDS[rank]),
    )


@RANKS
@pytest.mark.parametrize("name", parts(ENCODERS))
def test_encoder(name, rank):
    if name == "StreamTransformer":
        pytest.skip("has the axes of its stems")
    images = torch.randn(3, 5, *SIZES[rank], generator=torch.Generator().manual_seed(0))
    facts = {**facts_of(rank), **(NEEDED.get(name, {}) if rank == 2 else {})}
    images = torch.randn(3, 5, 64, 32) if (name, rank) == ("SwinTransformer", 2) else images
    check(name, rank, lambda: check_encoder(build_part({"type": name}, ENCODERS, facts), images))


@RANKS
@pytest.mark.parametrize(("name", "number"), TARGET_CASES)
def test_target(name, number, rank):
    options = dict(TARGET_OPTIONS.get(name, [{}])[number])
    options |= {"teacher": vit(rank)} if "teacher" in options else {}
    stem = {**STREAMS["stems"]["bands"], "img_size": SIZES[rank], "patch_size": PATCHES[rank]}
    streams, grid = {**STREAMS, "stems": {"bands": stem}}, GRIDS[rank]
    encoder = build_part({"StreamTarget": streams, "IdTarget": codes(rank)}.get(name, vit(rank)), ENCODERS)
    images = torch.randint(20, (3, *grid)) if name == "IdTarget" else torch.randn(3, 5, *SIZES[rank])
    facts = {**facts_of(rank), "encoder": encoder, "model_teacher": MomentumTeacher(encoder, [1, 2])}
    grid = {"near": grid, "far": grid} if name == "StreamTarget" else grid

    def run():
        target = build_part({"type": name, **options}, TARGETS, facts)
        decoder = ProjectionDecoder(24, 24, of="patches")  # whose average a target may ask for
        facts["model_teacher"].attach(nn.ModuleDict({"encoder": encoder, "decoder": decoder}))
        check_target(target, images, grid)

    check(name, rank, run)


@RANKS
@pytest.mark.parametrize("name", parts(STEMS))
def test_stem(name, rank):
    inputs = {"TokenStem": torch.randint(7, (3, *GRIDS[rank])), "PointStem": torch.randn(3, 6, 9, 4)}
    config = {**facts_of(rank), **NEEDED.get(name, {})}
    stem = build_part({"type": name}, STEMS, config)
    check_stem(stem, inputs.get(name, torch.randn(3, 5, *SIZES[rank])))


@RANKS
@pytest.mark.parametrize("name", parts(TEACHERS))
def test_teacher(name, rank):
    options = {"FrozenTeacher": {"teacher": vit(rank, in_chans=3)}}
    sizes = {"img_size": SIZES[rank], "patch_size": PATCHES[rank]}
    model = tiny_model(encoder=sizes, teacher={"type": name, **options.get(name, {})})
    images = torch.randn(3, 3, *SIZES[rank])
    check_teacher(model.teacher, images, layout_of(model.encoder, images), model)


@RANKS
@pytest.mark.parametrize("name", parts(CORRUPTIONS))
def test_corruption(name, rank):
    options = {"NearestCodeCorruption": {"codebook": 7}}
    part = build_part({"type": name, **options.get(name, {})}, CORRUPTIONS, facts_of(rank))
    check_corruption(part, torch.randn(3, 5, *SIZES[rank]), GRIDS[rank])
