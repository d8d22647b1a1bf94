"""The numbers of sustainlab-group/SatMAE, groups of channels (tests/data/README.md)."""

import re

import pytest
import torch
from golden import close, gradients, load, load_all
from torch import nn

from maetool.models import MaskedImageModel
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan

NAMES = {
    r"patch_embed\.(\d)\.": r"encoder.stems.image.patch_embed.\1.",
    r"decoder_pred\.(\d)\.": r"decoder.pred.maps.group\1.",
    r"decoder_": "decoder.",
    r"mask_token": "decoder.mask_token",
    r"": "encoder.",
}
FIXED = ("pos_embed", "channel_embed", "decoder_pos_embed", "decoder_channel_embed")


def ours(state):
    """Return weights, or gradients, by our names; maps to pixels lead to (row, column, band), not (band, ...)."""
    mine = {}
    for name, value in state.items():
        if name not in FIXED:
            new = next(re.sub(f"^{old}", new, name) for old, new in NAMES.items() if re.match(old, name))
            is_map = new.startswith("decoder.pred.maps.")
            mine[new] = value.unflatten(0, (-1, 64)).transpose(0, 1).flatten(0, 1) if is_map else value
    return mine


@pytest.fixture(params=["groups", "groups_spatial", "groups_norm"])
def case(data_dir, request):
    golden, state = load(data_dir, f"satmae_{request.param}")
    flat, sizes = golden["channel_groups_flat"].tolist(), golden["channel_group_sizes"].tolist()
    groups = [flat[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
    stem = {"type": "GroupStem", "groups": groups, "img_size": 32, "patch_size": 8}
    code = {"stream_code": "concat"}
    sizes = {"embed_dim": 48, "depth": 2, "num_heads": 3}
    model = MaskedImageModel(
        masker={"type": "StreamMasker", "across": "same" if request.param == "groups_spatial" else "together"},
        encoder={"type": "StreamTransformer", "stems": {"image": stem}, **sizes, **code, "code_dim": 16},
        decoder={"type": "TransformerDecoder", "embed_dim": 32, "depth": 2, "num_heads": 4, **code, "code_dim": 8},
        target={
            "type": "StreamTarget",
            "targets": {"type": "PixelTarget", "norm_pix_loss": False},
            "norm_pix_loss": request.param == "groups_norm",
        },
        head={"type": "StreamHead", "head": {"type": "RegressionHead"}},
    )
    load_all(model, {**model.state_dict(), **ours(state)})
    noise = golden["noise"]
    if request.param == "groups_spatial":  # one draw: the first places of all groups, then the next ones
        noise = noise.argsort(1).argsort(1).repeat(1, 3).float()
    plan = MaskPlan.from_scores(noise, 12, model.encoder.layout_of(golden["imgs"]))
    return golden, model, plan


def test_positions_are_those_of_place_and_group(case):
    golden, model, _ = case
    for number, name in enumerate(model.encoder.grids):
        table = model.encoder.positions.tables[name].pos_embed[0]
        close(table[:, :32], golden["state/pos_embed"][0, 1:])
        close(table[:, 32:], golden["state/channel_embed"][0, number].expand(16, -1))
    places = model.decoder.stream_positions(model.encoder.grids)[0]
    code = golden["state/decoder_channel_embed"][0]
    close(places[0], torch.cat([torch.zeros(24), code[3]]))
    close(places[17], torch.cat([golden["state/decoder_pos_embed"][0, 1], code[1]]))


def test_mask_and_latent(case):
    golden, model, plan = case
    close(plan.mask.float(), golden["mask"].flatten(1))
    latent = model.encoder(golden["imgs"], plan)
    entered = golden["ids_restore"].flatten(1)
    if entered.shape[1] == 16:  # the published order is group by group
        order = plan.ids_keep.div(16, rounding_mode="floor").argsort(dim=1, stable=True)
        latent = torch.cat([latent[:, :1], latent[:, 1:].gather(1, order[..., None].expand(-1, -1, 48))], dim=1)
    close(latent, golden["latent"])


def test_prediction_and_loss(case):
    golden, model, plan = case
    pred = model.decoder(model.encoder(golden["imgs"], plan), plan)
    expected = golden["pred"].split(golden["channel_group_sizes"].tolist(), dim=1)
    expected = [nn.functional.pad(g.permute(0, 2, 3, 1).flatten(2), (0, 256 - 64 * g.shape[1])) for g in expected]
    close(pred, plan.take_predicted(torch.cat(expected, dim=1)))
    assert (pred[plan.ids_predict >= 32][:, 128:] == 0).all(), "the last group has half the channels"
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss_with_target_in_group_order"])


def test_loss_and_gradients_as_released(case):
    """The released code takes predictions in the order of the groups for those in the order of the bands."""
    golden, model, plan = case
    everything = plan.predicting("all")
    pred = model.decoder(model.encoder(golden["imgs"], plan), everything)
    sizes = golden["channel_group_sizes"].tolist()
    pred = [each[..., : 64 * n].unflatten(2, (64, n)) for each, n in zip(pred.split(16, dim=1), sizes, strict=True)]
    pred = torch.cat(pred, dim=3)  # (B, place, pixel, band), in the order of the groups
    target = patchify(golden["imgs"], (8, 8)).unflatten(2, (64, 10))
    if model.target.norm_pix_loss:
        mean, var = target.mean((2, 3), keepdim=True), target.flatten(2).var(2)[..., None, None]
        target = (target - mean) / (var + 1e-6).sqrt()
    groups = golden["channel_groups_flat"].split(sizes)
    errors = torch.stack([(pred - target)[..., group].square().mean((2, 3)) for group in groups], dim=1)
    loss = (errors * golden["mask"]).sum() / golden["mask"].sum()
    close(loss, golden["loss_as_released"])
    loss.backward()
    expected = ours({n.removeprefix("grad/"): v for n, v in golden.items() if n.startswith("grad/")})
    assert len(expected) == 6
    found = gradients(model)
    for name, gradient in expected.items():
        close(found[name], gradient)
