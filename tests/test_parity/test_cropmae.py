"""The numbers of two decoders that ask another view: alexandre-eymael/CropMAE and naver/croco."""

import re

import pytest
import torch
from golden import close, gradients, load, load_all

from maetool.decoders import CrossViewDecoder
from maetool.encoders import VisionTransformer
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan


def cross(state, prefix):
    """Return weights of nn.MultiheadAttention as those of an attention over another input."""
    (q, kv), (q_bias, kv_bias) = (
        (value[: len(value) // 3], value[len(value) // 3 :])
        for value in (state[f"{prefix}.in_proj_weight"], state[f"{prefix}.in_proj_bias"])
    )
    return {"q.weight": q, "q.bias": q_bias, "kv.weight": kv, "kv.bias": kv_bias}


def of_cropmae(state):
    mine = {}
    for name, value in state.items():
        if not name.startswith("decoder_blocks"):
            if name.startswith("decoder_") or name == "mask_token":
                mine[name.removeprefix("decoder_")] = value
            continue
        block, rest = re.match(r"decoder_(blocks\.\d)\.(.*)", name).groups()
        for old, new in (("linear1", "steps.1.branch.fc1"), ("linear2", "steps.1.branch.fc2")):
            rest = rest.replace(old, new)
        # The norms are counted as in PyTorch's decoder layer: self-attention, cross-attention, hidden layer.
        rest = re.sub(r"^norm(\d)", lambda match: f"steps.{(int(match[1]) + 1) % 3}.norm", rest)
        rest = rest.replace("self_attn.in_proj_", "steps.2.branch.qkv.").replace("self_attn.out_", "steps.2.branch.")
        rest = rest.replace("multihead_attn.out_", "steps.0.branch.")
        if rest.startswith("multihead_attn.in"):
            own = cross(state, f"decoder_{block}.multihead_attn")
            mine |= {f"{block}.steps.0.branch.{n}": v for n, v in own.items()}
        else:
            mine[f"{block}.{rest}"] = value
    return mine


@pytest.fixture
def cropmae(data_dir):
    golden, state = load(data_dir, "cropmae")
    model = MaskedImageModel(
        masker={"type": "RandomMasker", "mask_ratio": 0.8},
        encoder={
            **{"type": "VisionTransformer", "img_size": 32, "patch_size": 8},
            **{"embed_dim": 48, "depth": 2, "num_heads": 3},
        },
        decoder={
            **{"type": "CrossViewDecoder", "post_norm": True, "hidden_dim": 2048},
            **{"embed_dim": 16, "depth": 2, "num_heads": 2},
        },
        target={"type": "PixelTarget"},
        head={"type": "RegressionHead"},
        view="local",
        context="global",
    )
    load_all(model.encoder, {n: v for n, v in state.items() if not n.startswith("decoder") and n != "mask_token"})
    load_all(model.decoder, of_cropmae(state))
    plan = MaskPlan.from_scores(golden["noise"], 3, (4, 4))
    return golden, model, plan, {"global": golden["view1"], "local": golden["view2"]}


def test_cropmae_tokens_and_predictions(cropmae):
    golden, model, plan, views = cropmae
    close(plan.mask.float(), golden["mask"])
    memory, latent = model.encoder(views["global"]), model.encoder(views["local"], plan)
    close(memory, golden["latent1"])
    close(latent, golden["latent2"])
    seen = []
    model.decoder.blocks[0].register_forward_hook(lambda block, inputs, out: seen.append((inputs[0], out)))
    close(model.decoder(latent, plan, memory), plan.take_predicted(golden["pred"]))
    close(seen[0][0], golden["queries"])
    close(seen[0][1], golden["after_first_block"])


def test_cropmae_loss_and_gradients(cropmae):
    golden, model, plan, views = cropmae
    loss = model(views, plan=plan)["loss"]
    close(loss, golden["loss"])
    loss.backward()
    found = gradients(model)
    for name in ("patch_embed.proj.weight", "cls_token"):
        close(found[f"encoder.{name}"], golden[f"grad/{name}"])
    for name, value in (("mask_token", "mask_token"), ("embed.weight", "decoder_embed.weight")):
        close(found[f"decoder.{name}"], golden[f"grad/{value}"])
    close(found["decoder.pred.bias"], golden["grad/decoder_pred.bias"])
    close(found["decoder.blocks.1.steps.1.norm.weight"], golden["grad/decoder_blocks.1.norm3.weight"])
    cross_attention = [found[f"decoder.blocks.0.steps.0.branch.{n}.bias"] for n in ("q", "kv")]
    close(torch.cat(cross_attention), golden["grad/decoder_blocks.0.multihead_attn.in_proj_bias"])


CROCO = {
    r"enc_blocks": "blocks",
    r"enc_norm": "norm",
    r"enc_pos_embed": "pos_embed",
    r"dec_blocks\.(\d)\.norm1": r"blocks.\1.steps.0.norm",
    r"dec_blocks\.(\d)\.norm2": r"blocks.\1.steps.1.norm",
    r"dec_blocks\.(\d)\.norm3": r"blocks.\1.steps.2.norm",
    r"dec_blocks\.(\d)\.norm_y": r"blocks.\1.steps.1.memory_norm",
    r"dec_blocks\.(\d)\.attn": r"blocks.\1.steps.0.branch",
    r"dec_blocks\.(\d)\.cross_attn\.projq": r"blocks.\1.steps.1.branch.q",
    r"dec_blocks\.(\d)\.cross_attn\.proj\.": r"blocks.\1.steps.1.branch.proj.",
    r"dec_blocks\.(\d)\.mlp": r"blocks.\1.steps.2.branch",
    r"dec_norm": "norm",
    r"dec_pos_embed": "pos_embed",
    r"decoder_embed": "embed",
    r"prediction_head": "pred",
}


def of_croco(state):
    """Return the weights of the encoder and of the decoder."""
    encoder, decoder = {}, {}
    for name, value in state.items():
        part = encoder if name.startswith(("enc", "patch_embed")) else decoder
        if match := re.match(r"dec_blocks\.(\d)\.cross_attn\.projk\.(.*)", name):
            joined = torch.cat([value, state[name.replace("projk", "projv")]])
            decoder[f"blocks.{match[1]}.steps.1.branch.kv.{match[2]}"] = joined
        elif "projv" not in name:
            new = next((re.sub(old, new, name) for old, new in CROCO.items() if re.match(old, name)), name)
            part[new] = value[None] if new == "pos_embed" else value
    return encoder, decoder


@pytest.mark.parametrize(("kind", "pos_embed", "depth"), [("cosine", "sincos", 2), ("RoPE100", "rotary", 1)])
def test_croco(data_dir, kind, pos_embed, depth):
    golden, _ = load(data_dir, "croco")
    of_encoder, of_decoder = of_croco(
        {n.removeprefix(f"{kind}/state/"): v for n, v in golden.items() if n.startswith(f"{kind}/state/")}
    )
    encoder = VisionTransformer(32, 8, 3, 48, depth, 3, pos_embed=pos_embed, class_token=False)
    options = {"memory_norm": True, "memory_positions": True, "pos_embed": pos_embed}
    steps = ("self", "cross", "mlp")
    decoder = CrossViewDecoder(48, 192, (4, 4), 0, 32, depth, 4, steps, **options)
    if pos_embed == "sincos":
        close(encoder.pos_embed, of_encoder["pos_embed"])
        close(decoder.pos_embed, of_decoder["pos_embed"])
    load_all(encoder, of_encoder)
    load_all(decoder, of_decoder)
    # The published masks name no order, so that visible patches enter in raster order.
    plan = MaskPlan.from_mask(golden["mask"], (4, 4))
    memory, latent = encoder(golden["view2"]), encoder(golden["view1"], plan)
    close(latent, golden[f"{kind}/latent1"])
    close(memory, golden[f"{kind}/latent2"])
    pred = decoder(latent, plan, memory)
    close(pred, plan.take_predicted(golden[f"{kind}/pred"]))
    model = MaskedImageModel(
        **{"masker": {"type": "RandomMasker"}, "encoder": encoder, "decoder": decoder},
        **{"target": {"type": "PixelTarget"}, "head": {"type": "RegressionHead"}, "view": "first", "context": "second"},
    )
    loss = model({"first": golden["view1"], "second": golden["view2"]}, plan=plan)["loss"]
    close(loss, golden[f"{kind}/loss"])
    loss.backward()
    found = gradients(model)
    close(found["encoder.patch_embed.proj.weight"], golden[f"{kind}/grad/patch_embed.proj.weight"])
    for name, value in (("mask_token", "mask_token"), ("embed.weight", "decoder_embed.weight")):
        close(found[f"decoder.{name}"], golden[f"{kind}/grad/{value}"])
    close(found["decoder.pred.bias"], golden[f"{kind}/grad/prediction_head.bias"])
    close(found["decoder.blocks.0.steps.1.memory_norm.weight"], golden[f"{kind}/grad/dec_blocks.0.norm_y.weight"])
