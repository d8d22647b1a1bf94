"""The numbers of microsoft/SimMIM on a small ViT (tests/data/README.md)."""

from math import prod

import pytest
import torch
from golden import beit_encoder, close, gradients, load, load_all

from maetool.decoders import LinearDecoder
from maetool.heads import RegressionHead
from maetool.maskers import AlignedMasker
from maetool.models import MaskedImageModel
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget


def channels_last(value, side=4):
    """Return rows ordered (channel, row, column) as ours, (row, column, channel)."""
    return value.unflatten(0, (3, side, side)).movedim(0, 2).flatten(0, 2)


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "simmim_vit")
    encoder = beit_encoder(img_size=32, patch_size=4, embed_dim=48, depth=2, num_heads=3)
    target = PixelTarget(4, norm_pix_loss=False)
    masker = AlignedMasker(0.6, unit=golden["unit_in_patches"].item())
    model = MaskedImageModel(masker, encoder, LinearDecoder(48, target.out_dim), target, RegressionHead("l1"))
    mine = {name: value for name, value in state.items() if name.startswith("encoder.")}
    mine["decoder.pred.weight"] = channels_last(state["decoder.0.weight"].flatten(1))
    mine["decoder.pred.bias"] = channels_last(state["decoder.0.bias"])
    load_all(model, mine)
    return golden, model, MaskPlan.from_mask(golden["mask"].flatten(1), (8, 8))


def test_latent_prediction_and_loss(case):
    golden, model, plan = case
    latent = model.encoder(golden["imgs"], plan)
    close(latent[:, 1:].transpose(1, 2).unflatten(2, (8, 8)), golden["latent"])
    rec = plan.take_predicted(patchify(golden["rec"], (4, 4)))
    close(model.decoder(latent, plan), rec)
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss"])


def test_gradients(case):
    golden, model, plan = case
    model(golden["imgs"], plan=plan)["loss"].backward()
    ours = gradients(model)
    theirs = {name.removeprefix("grad/"): value for name, value in golden.items() if name.startswith("grad/")}
    theirs["decoder.pred.weight"] = channels_last(theirs.pop("decoder.0.weight").flatten(1))
    for name, gradient in theirs.items():
        close(ours[name], gradient)


def test_units_that_are_removed(data_dir):
    golden, _ = load(data_dir, "simmim_vit")
    for size, unit, patch, removed in golden["units_removed"].tolist():
        masker, grid = AlignedMasker(0.6, unit=unit // patch), (size // patch,) * 2
        assert (prod(grid) - masker.num_keep(grid)) * patch**2 == removed * unit**2
        mask = masker(torch.zeros(2, 3, 1, 1), grid).mask
        assert (mask.sum(1) * patch**2 == removed * unit**2).all()
