"""The numbers of Pang-Yatian/Point-MAE (tests/data/README.md)."""

import torch
from golden import close, load, load_all
from torch import nn

from maetool.decoders import PredictorDecoder
from maetool.encoders import StreamTransformer
from maetool.stems import PointStem
from maetool.structures import MaskPlan


def test_tokens_and_where_they_lie(data_dir):
    golden, state = load(data_dir, "point_mae")
    stem = PointStem(8, embed_dim=48, widths=(16, 24, 48))
    prefix = "MAE_encoder.encoder."
    load_all(stem, {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)})
    centres = golden["centers"][:, :, None]
    groups = torch.cat([centres, golden["groups"] + centres], dim=2)
    layout = stem.layout_of(groups)
    assert layout.grid == (8,) and torch.equal(layout.coords, golden["centers"]) and layout.valid is None
    close(stem.train()(groups), golden["tokens"])


def with_published_norms(part):
    """Let the layer norms add 1e-5 to the variance."""
    for module in part.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    return part


def encoder_of(state, **options):
    stems = {"points": {"type": "PointStem", "num_groups": 8, "widths": (16, 24, 48)}}
    encoder = StreamTransformer(stems, 48, 2, 3, class_token=False, **options)
    table = "positions.tables.points.pos_embed."
    names = {"encoder.": "stems.points.", "pos_embed.": table, "blocks.blocks.": "blocks."}
    mine = {}
    for name, value in state.items():
        if name.startswith("MAE_encoder."):
            own = name.removeprefix("MAE_encoder.")
            old = next((old for old in names if own.startswith(old)), "")
            mine[names.get(old, "") + own.removeprefix(old)] = value
    load_all(encoder, mine)
    return with_published_norms(encoder)


def decoder_of(state, **options):
    """Return the decoder, which reads the tokens in their own width."""
    depth = len({name.split(".")[2] for name in state if name.startswith("MAE_decoder.blocks.")})
    decoder = PredictorDecoder(48, 48, None, 0, 48, depth, 4, grids={"points": (8,)}, coord_dim=3, **options)
    own = {n.removeprefix("MAE_decoder."): v for n, v in state.items() if n.startswith("MAE_decoder.")}
    table = "stream_positions.tables.points.pos_embed."
    own |= {table + n.removeprefix("decoder_pos_embed."): v for n, v in state.items() if n.startswith("decoder_pos")}
    own |= {"embed.weight": torch.eye(48), "embed.bias": torch.zeros(48), "mask_token": state["mask_token"]}
    own |= {"pred.weight": state["increase_dim.0.weight"][..., 0], "pred.bias": state["increase_dim.0.bias"]}
    load_all(decoder, own)
    return with_published_norms(decoder)


def test_latent_and_predicted_points(data_dir):
    """Positions are a network of the centres, added before every block of encoder and decoder."""
    golden, state = load(data_dir, "point_mae")
    options = {"pos_embed": "coords", "pos_every_block": True, "qkv_bias": False}
    encoder, decoder = encoder_of(state, **options), decoder_of(state, **options)
    centres = golden["centers"][:, :, None]
    groups = torch.cat([centres, golden["groups"] + centres], dim=2)
    plan = MaskPlan.from_mask(golden["mask"], encoder.layout_of(groups))
    latent = encoder.train()(groups, plan)
    close(latent, golden["latent"])
    close(decoder(latent, plan), golden["pred"].flatten(2))
