"""The numbers of sustainlab-group/SatMAE, groups of channels (tests/data/README.md)."""

import re

import pytest
from golden import close, load, load_all

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
