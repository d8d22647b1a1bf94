"""The numbers of facebookresearch/capi: its encoder, of visible patches and of all."""

from dataclasses import replace

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import QueryDecoder
from maetool.encoders import VisionTransformer
from maetool.ops.rotary import boxed_coords
from maetool.structures import MaskPlan

NAMES = {"residual1.norm": "norm1", "residual2.norm": "norm2", "residual2.fn": "mlp", "residual1.fn.proj": "attn.proj"}


def encoder_state(state):
    """Return the published encoder's weights by our names; the frequencies of its positions are fixed."""
    weights = {f"patch_embed.proj.{kind}": state[f"patch_embed.{kind}"] for kind in ("weight", "bias")}
    weights["reg_token"] = state["registers"]
    for number in (0, 1):
        place = f"encoder.blocks.{number}."
        own = {name.removeprefix(place): value for name, value in state.items() if name.startswith(place)}
        qkv = torch.cat([own[f"residual1.fn.{kind}_proj.weight"] for kind in "qkv"])
        weights[f"blocks.{number}.attn.qkv.weight"] = qkv
        for old, new in NAMES.items():
            weights |= {f"blocks.{number}." + n.replace(old, new): v for n, v in own.items() if n.startswith(old)}
    return weights


@pytest.fixture
def capi(data_dir):
    """The arrays, the publisher's weights, and the encoder with these."""
    golden, state = load(data_dir, "capi")
    options = {"pos_embed": "rotary_box", "class_token": False, "num_registers": 16, "final_norm": "fixed"}
    options |= {"qkv_bias": False, "bias": False, "norm_layer": "rms_1e-5"}
    encoder = VisionTransformer(48, 8, embed_dim=48, depth=2, num_heads=3, **options)
    load_all(encoder, encoder_state(state))
    return golden, state, encoder


def plan_of(golden):
    return MaskPlan.from_mask(golden["mask"], (6, 6))


def test_places_of_registers_and_visible_patches(capi):
    golden = capi[0]
    coords = boxed_coords((6, 6), 16, golden["mask"])
    ids = torch.cat([torch.arange(16).expand(3, -1), plan_of(golden).ids_keep + 16], dim=1)
    close(coords.gather(1, ids[..., None].expand(-1, -1, 2)), golden["encoder_coords"])


def test_latent_of_visible_patches_and_of_all(capi):
    golden, _, encoder = capi
    close(encoder(golden["imgs"], plan_of(golden))[:, 16:], golden["latent"])
    close(encoder(golden["imgs"])[:, 16:], golden["teacher_latent"])


@pytest.fixture
def predictor(capi):
    """The published predictor, and the student's head as its output."""
    state = capi[1]
    options = {"pos_embed": "rotary_box", "embed_memory": False, "norm_layer": "rms_1e-5", "bias": False}
    sizes = {"num_prefix_tokens": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    decoder = QueryDecoder(48, 14, (6, 6), **sizes, **options, final_norm="fixed", output="prototypes")
    weights = {"mask_token": state["mask_token"][None]}
    weights |= {"pred.length": state["head.last_layer.weight_g"], "pred.weight": state["head.last_layer.weight_v"]}
    for number in (0, 1):
        old, new = f"decoder.blocks.{number}.residual", f"blocks.{number}.steps."
        weights |= {f"{new}{i}.norm.weight": state[f"{old}{i + 1}.norm.weight"] for i in (0, 1)}
        weights |= {f"{new}1.branch.{kind}.weight": state[f"{old}2.fn.{kind}.weight"] for kind in ("fc1", "fc2")}
        key, value = (state[f"{old}1.fn.{kind}_proj.weight"] for kind in "kv")
        weights[f"{new}0.branch.kv.weight"] = torch.cat([key, value])
        names = {"q": "q_proj", "proj": "proj"}
        weights |= {f"{new}0.branch.{ours}.weight": state[f"{old}1.fn.{other}.weight"] for ours, other in names.items()}
    load_all(decoder, weights)
    return decoder


def asked(golden):
    """The plan, whose predictions are those that the publisher chose among the removed patches."""
    predicted = (golden["predict_indices"] % 36).view(3, -1)
    return replace(plan_of(golden), ids_predict=predicted)


def test_predictions(capi, predictor):
    golden, _, encoder = capi
    latent, plan = encoder(golden["imgs"], plan_of(golden)), asked(golden)
    close(predictor.decode(latent, plan).flatten(0, 1), golden["pred"])
    close(predictor(latent, plan).flatten(0, 1), golden["logits"])
