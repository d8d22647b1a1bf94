"""The numbers of sustainlab-group/SatMAE, groups of channels (tests/data/README.md)."""

import re

import pytest
import torch
from golden import close, load, load_all
from torch import nn

from maetool.decoders import TransformerDecoder
from maetool.encoders import StreamTransformer
from maetool.structures import MaskPlan

NAMES = {
    r"patch_embed\.(\d)\.": r"stems.image.patch_embed.\1.",
    r"decoder_pred\.(\d)\.": r"pred.maps.group\1.",
    r"decoder_": "",
}
FIXED = ("pos_embed", "channel_embed", "decoder_pos_embed", "decoder_channel_embed")


def ours(state):
    mine = {}
    for name, value in state.items():
        if name not in FIXED:
            new = next((re.sub(old, new, name) for old, new in NAMES.items() if re.match(old, name)), name)
            mine[new] = value
    return mine


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "satmae_groups")
    flat, sizes = golden["channel_groups_flat"].tolist(), golden["channel_group_sizes"].tolist()
    groups = [flat[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
    stems = {"image": {"type": "GroupStem", "groups": groups, "img_size": 32, "patch_size": 8}}
    encoder = StreamTransformer(stems, 48, 2, 3, stream_code="concat", code_dim=16)
    decoder = {n for n in state if n.startswith("decoder") or n == "mask_token"}
    load_all(encoder, {**encoder.state_dict(), **ours({n: v for n, v in state.items() if n not in decoder})})
    layout = encoder.layout_of(golden["imgs"])
    return golden, encoder, MaskPlan.from_scores(golden["noise"], 12, layout), {n: state[n] for n in decoder}


def test_positions_are_those_of_place_and_group(case):
    golden, encoder, _, _ = case
    for number, name in enumerate(encoder.grids):
        table = encoder.positions.tables[name].pos_embed[0]
        close(table[:, :32], golden["state/pos_embed"][0, 1:])
        close(table[:, 32:], golden["state/channel_embed"][0, number].expand(16, -1))


def test_mask_and_latent(case):
    golden, encoder, plan, _ = case
    close(plan.mask.float(), golden["mask"].flatten(1))
    close(encoder(golden["imgs"], plan), golden["latent"])


def test_prediction_and_loss(case):
    golden, encoder, plan, state = case
    grids, pixels = encoder.grids, {name: facts["in_chans"] * 64 for name, facts in encoder.streams.items()}
    decoder = TransformerDecoder(
        *(48, max(pixels.values())),
        embed_dim=32,
        depth=2,
        num_heads=4,
        grids=grids,
        out_dims=pixels,
        stream_code="concat",
        code_dim=8,
    )
    load_all(decoder, {**decoder.state_dict(), **ours(state)})
    places = decoder.stream_positions(grids)[0]
    close(places[0], torch.cat([torch.zeros(24), golden["state/decoder_channel_embed"][0, 3]]))
    close(places[17], torch.cat([golden["state/decoder_pos_embed"][0, 1], golden["state/decoder_channel_embed"][0, 1]]))
    pred = decoder(encoder(golden["imgs"], plan), plan)
    expected = golden["pred"].split(golden["channel_group_sizes"].tolist(), dim=1)
    expected = [
        nn.functional.pad(group.transpose(1, 2).flatten(2), (0, 256 - 64 * group.shape[1])) for group in expected
    ]
    close(pred, plan.take_predicted(torch.cat(expected, dim=1)))
    assert (pred[:, -1, 128:] == 0).all(), "the last group has half the channels"
