"""The numbers of LocalMIM's Swin (tests/data/README.md), whose windows are gathered there and placed on maps here."""

import numpy as np
import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import ScaledDecoder
from maetool.encoders import SwinTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.models.pairing import facts_of
from maetool.structures import MaskPlan
from maetool.targets import CellTarget, HOGTarget, PixelTarget

SIZES = {"embed_dim": 4, "depths": (2, 1, 2, 1), "num_heads": (1, 1, 2, 2), "window_size": 7, "norm_eps": 1e-6}


def ours(name, value):
    """Return our name and value of a weight: timm merges at the head of a stage, and columns before rows."""
    if ".downsample." in name:
        stage = int(name.split(".")[1])
        width = value.shape[-1] // 4 if value.ndim == 1 or "reduction" in name else None
        name = name.replace(f"layers.{stage}.", f"layers.{stage + 1}.")
        value = value.unflatten(-1, (2, 2, width)).transpose(-3, -2).flatten(-3)
    return name, value


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.RandomState(0).rand(2, 3, 224, 224).astype(np.float32))


@pytest.fixture(scope="module")
def case(data_dir):
    golden, state = load(data_dir, "localmim_swin")
    encoder = SwinTransformer(224, 4, **SIZES, sees="visible")
    inside = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    mine = dict(ours(name, value) for name, value in inside.items() if not name.startswith("norm."))
    load_all(encoder, mine | {f"norm.{kind}": inside[f"norm.3.{kind}"] for kind in ("weight", "bias")})
    targets = [HOGTarget(32, nbins=6, cell_size=size) for size in (8, 16, 32, 32)]
    parts = []
    for number, target in enumerate(targets):
        facts = {name: facts_of(encoder)[name] for name in ("encoder_dim", "grid", "num_layers", "num_prefix_tokens")}
        facts |= {name: facts_of(encoder)[name] for name in ("encoder_norm", "layer_dims", "layer_cells")}
        width = 16 if number else 8
        decoder = ScaledDecoder(out_dim=target.out_dim, layer=number + 1, embed_dim=width, num_heads=2, **facts)
        prefix = f"decoder.{number}."
        mine = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        norm = {f"layer_norm.{kind}": inside[f"norm.{number}.{kind}"] for kind in ("weight", "bias")}
        mine.pop("pos_embed", None)
        load_all(decoder, {"pos_embed": decoder.pos_embed, **mine, **(norm if number < 3 else {})})
        parts.append({"decoder": decoder, "target": target, "head": RegressionHead()})
    tasks = {f"stage{number}": part for number, part in enumerate(parts[:3], start=1)}
    model = MaskedImageModel(RandomMasker(0.75), encoder, *parts[3].values(), tasks=tasks)
    plan = MaskPlan.from_mask(golden["mask"].expand(2, -1), (7, 7))
    return golden, model, parts, plan


def in_order(values, plan, cells):
    """Return values (B, M * cells^2, C), of hidden patches one after another, in the order of rows of the image."""
    grid = tuple(cells * side for side in plan.grid)
    picture = torch.zeros(len(values), *grid, values.shape[2])
    hidden = plan.mask.unflatten(1, plan.grid)
    each = iter(values.unflatten(1, (-1, cells, cells)).unbind(1))
    for row, column in hidden[0].nonzero().tolist():
        picture[:, row * cells : (row + 1) * cells, column * cells : (column + 1) * cells] = next(each)
    return picture[:, plan.mask_at(grid)[0]]


def cells_of(values, cells):
    """Return (B, M, P), ordered number, row, column, as (B, M * cells^2, numbers)."""
    return values.unflatten(2, (-1, cells**2)).transpose(2, 3).flatten(1, 2)


def test_layers(case, images):
    golden, model, parts, plan = case
    assert plan.num_keep == RandomMasker(0.75).num_keep((7, 7))
    for number, (tokens, part) in enumerate(zip(model.encoder(images, plan, [1, 2, 3, 4]), parts, strict=True)):
        close(part["decoder"].encoder_norm(tokens), golden[f"latent/{number}"])


@pytest.mark.parametrize(("number", "cells"), list(enumerate((4, 2, 1, 1))))
def test_predictions_and_targets(case, images, number, cells):
    golden, model, parts, plan = case
    pred = parts[number]["decoder"](model.encoder(images, plan, [number + 1]), plan)
    close(in_order(cells_of(pred, cells), plan, cells), golden[f"hog/pred/{number}"])
    target = parts[number]["target"](images, plan)
    close(in_order(cells_of(target, cells), plan, cells), golden[f"hog/target/{number}"], tolerance=1e-4)


@pytest.mark.parametrize(("number", "cells"), list(enumerate((4, 2))))
def test_pixels_of_cells(case, images, number, cells):
    golden, _, _, plan = case
    target = CellTarget({"type": "PixelTarget"}, 32 // cells, 32)
    values = in_order(cells_of(target(images, plan), cells), plan, cells)
    close(values[:, :3], golden[f"pixel/target/{number}"])
    pixels = target.invert(target(images, plan), images, plan)
    close(pixels, PixelTarget(32, norm_pix_loss=False)(images, plan))


def test_losses_and_gradients(case, images):
    golden, model, parts, plan = case
    model.zero_grad()
    losses = model(images, plan=plan)
    names = ("stage1", "stage2", "stage3", "main")
    close(torch.stack([losses[name].detach() for name in names]), golden["hog/losses"])
    close(losses["loss"], golden["hog/losses"].sum())
    losses["loss"].backward()
    for name, value in ((name, value) for name, value in golden.items() if name.startswith("grad/encoder.")):
        if "norm.0" not in name:
            name, value = ours(name.removeprefix("grad/encoder."), value)
            close(model.encoder.get_parameter(name).grad, value)
    first = parts[0]["decoder"]
    close(first.layer_norm.weight.grad, golden["grad/encoder.norm.0.weight"])
    close(first.embed.weight.grad, golden["grad/decoder.0.embed.weight"])
    close(first.mask_token.grad, golden["grad/decoder.0.mask_token"])
