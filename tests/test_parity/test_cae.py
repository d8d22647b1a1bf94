"""The numbers of Atten4Vis/CAE: regressed latents, latents of the removed patches alone, codes, both losses."""

import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import RefiningDecoder, RegressorDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import ClassificationHead, RegressionHead
from maetool.structures import MaskPlan
from maetool.targets import MomentumFeatureTarget

_NAMES = {
    "gamma_1_cross": "ls1.gamma",
    "gamma_2_cross": "ls2.gamma",
    "gamma_1": "ls1.gamma",
    "gamma_2": "ls2.gamma",
    "norm1_": "norm_",
    "norm2_cross": "norm2",
    "mlp_cross": "mlp",
    "regressor_blocks": "blocks",
    "decoder_blocks": "blocks",
    "cross_attn.q_bias": "cross_attn.q.bias",
    "head.": "pred.",
}


def part_of(state, prefix):
    """Return the weights of a part under the names that maetool gives them."""
    own = {}
    for name, value in state.items():
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            for old, new in _NAMES.items():
                name = name.replace(old, new)
            own[name] = value
    return own


def regressor_state(state):
    own = part_of(state, "regresser.")
    for name in [name for name in own if name.endswith("cross_attn.k.weight")]:
        start = name.removesuffix("k.weight")
        keys, values = own.pop(name), own.pop(f"{start}v.weight")
        bias = own.pop(f"{start}v_bias")
        own[f"{start}kv.weight"] = torch.cat([keys, values])
        own[f"{start}kv.bias"] = torch.cat([torch.zeros_like(bias), bias])
    return {**own, "mask_token": state["mask_token"], "pos_embed": state["rd_pos_embed"]}


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "cae")
    options = {"layer_scale": 0.1, "pos_embed": "sincos_rows"}
    encoder = VisionTransformer(32, 8, 3, 48, 2, 3, qkv_bias="qv", **options)
    regressor = RegressorDecoder(48, 48, (4, 4), 1, 2, 3, output=False, **options)
    refining = RefiningDecoder(48, 40, (4, 4), 2, 3, qkv_bias="qv", **options)
    own = part_of(state, "encoder.")
    close(encoder.pos_embed, own["pos_embed"])
    close(regressor.pos_embed, state["rd_pos_embed"])
    load_all(encoder, own)
    load_all(regressor, regressor_state(state))
    load_all(refining, {**part_of(state, "decoder."), "pos_embed": state["rd_pos_embed"][:, 1:]})
    return golden, encoder, regressor, refining, MaskPlan.from_mask(golden["mask"], (4, 4))


def test_latents_codes_losses_and_gradients(case):
    golden, encoder, regressor, refining, plan = case
    latent = encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    pred = regressor(latent, plan)
    close(pred, golden["latent_pred"])
    target = MomentumFeatureTarget(encoder, None, "none", 0.0, schedule="constant", sees="predicted")(
        golden["imgs"], plan
    )
    close(target, golden["latent_target"])
    logits = refining(pred, plan)
    close(logits.flatten(0, 1), golden["logits"])
    align = 2 * RegressionHead()(pred, target, plan)["loss"]
    close(align, golden["loss_align"])
    codes = golden["codes"].gather(1, plan.ids_predict)
    main = ClassificationHead()(logits, codes, plan)["loss"]
    close(main, golden["loss_main"])
    (main + align).backward()
    grads = {name.removeprefix("grad/"): value for name, value in golden.items() if name.startswith("grad/")}
    close(regressor.mask_token.grad, grads.pop("mask_token"))
    for prefix, part in {"encoder.": encoder, "decoder.": refining}.items():
        for name, value in part_of(grads, prefix).items():
            close(part.get_parameter(name).grad, value)
    queries = "regresser.regressor_blocks.0.cross_attn."
    close(regressor.blocks[0].cross_attn.kv.bias.grad[48:], grads.pop(f"{queries}v_bias"))
    for name, value in part_of(grads, "regresser.").items():
        close(regressor.get_parameter(name).grad, value)


def test_the_bias_of_keys_does_nothing(case):
    golden, encoder, regressor, _, plan = case
    latent = encoder(golden["imgs"], plan)
    before = regressor(latent, plan)
    for block in regressor.blocks:
        block.cross_attn.kv.bias.data[:48] += torch.randn(48)
    close(regressor(latent, plan), before)


def test_version_2_predicts_prefix_visible_and_removed_patches(data_dir):
    golden, _ = load(data_dir, "cae")
    state = {name.removeprefix("v2/state/"): value for name, value in golden.items() if name.startswith("v2/state/")}
    options = {"layer_scale": 0.1, "pos_embed": "sincos_rows"}
    encoder = VisionTransformer(32, 8, 3, 48, 2, 3, qkv_bias="qv", **options)
    decoder = RegressorDecoder(48, 20, (4, 4), 1, 2, 3, visible=True, predict_prefix=True, **options)
    load_all(encoder, part_of(state, "encoder."))
    own = {name: value for name, value in regressor_state(state).items() if not name.startswith("norm.")}
    load_all(decoder, {**own, **part_of(state, "decoder.")})
    removed = MaskPlan.from_mask(golden["mask"], (4, 4))
    plan = removed.predicting("all")
    pred = decoder(encoder(golden["imgs"], plan), plan)
    order = torch.cat([removed.ids_keep, removed.ids_predict], dim=1) + 1
    order = torch.cat([torch.zeros_like(order[:, :1]), order], dim=1)[..., None].expand(-1, -1, 20)
    close(torch.nn.functional.normalize(pred, dim=-1).gather(1, order), golden["v2/pred"])
    teacher = golden["v2/teacher"]
    close(torch.nn.functional.normalize(teacher, dim=-1).gather(1, order), golden["v2/target"])
    close(RegressionHead("cosine")(pred, teacher, plan)["loss"], golden["v2/loss"])
