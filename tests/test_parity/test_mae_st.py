"""The numbers of facebookresearch/mae_st: learned positions of time and of space."""

import re

import torch
from golden import close, load, load_all

from maetool.decoders import TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.structures import MaskPlan


def ours(state):
    """Return a state whose queries, keys and values are one map."""
    mine = {}
    for name, value in state.items():
        if match := re.match(r"(.*attn\.)q\.(weight|bias)", name):
            parts = [state[f"{match[1]}{kind}.{match[2]}"] for kind in "qkv"]
            mine[f"{match[1]}qkv.{match[2]}"] = torch.cat(parts)
        elif not re.search(r"attn\.[kv]\.", name):
            mine[name] = value
    return mine


def test_latent_and_prediction(data_dir):
    """The decoder begins with a class token of its own."""
    golden, state = load(data_dir, "mae_st")
    state = ours(state)
    encoder = VisionTransformer((16, 32, 32), (2, 8, 8), 3, 48, 2, 3, pos_embed="separable")
    decoder = TransformerDecoder(48, 192, (8, 4, 4), 1, 32, 2, 4, pos_embed="separable", own_prefix=True)
    load_all(encoder, {n: v for n, v in state.items() if not n.startswith("decoder") and n != "mask_token"})
    own = {n.removeprefix("decoder_"): v for n, v in state.items() if n.startswith("decoder")}
    load_all(decoder, {**own, "mask_token": state["mask_token"]})
    plan = MaskPlan.from_scores(golden["noise"], 12, (8, 4, 4))
    latent = encoder(golden["clip"], plan)
    close(latent[:, 1:], golden["latent"])
    close(decoder(latent, plan), plan.take_predicted(golden["pred"]))
    other = torch.cat([torch.randn(2, 1, 48), latent[:, 1:]], dim=1)
    assert torch.equal(decoder(other, plan), decoder(latent, plan))
