"""Encoders of other projects than plain ViTs, by the names of their files: the same tokens, and back without loss."""

import json
import re

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import maetool
from maetool.encoders import SwinTransformer, TimmEncoder, VisionTransformer
from maetool.errors import UsageError
from maetool.pretrained.convert import convert, write_conversion
from maetool.weights.formats import swin
from maetool.weights.formats.key_map import split_qkv
from maetool.weights.formats.table import FAMILIES, left_out, recognise, to_ours

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2, 2), "num_heads": (2, 4, 8)}
# Names in files of transformers, from those of timm; each pattern is applied to what the ones before left.
BLOCK_OF_HF = {
    r"^blocks\.(\d+)\.": r"encoder.layer.\1.",
    r"\.attn\.([qkv])\.": lambda match: f".attention.attention.{WORDS[match[1]]}.",
    r"\.attn\.proj\.": ".attention.output.dense.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.mlp\.fc1\.": ".intermediate.dense.",
    r"\.mlp\.fc2\.": ".output.dense.",
    r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",
    r"^norm\.": "layernorm.",
    r"^cls_token$": "embeddings.cls_token",
    r"^pos_embed$": "embeddings.position_embeddings",
}
WORDS = {"q": "query", "k": "key", "v": "value"}
HF_BEIT = BLOCK_OF_HF | {
    r"\.gamma_([12])$": r".lambda_\1",
    r"\.attn\.relative": ".attention.attention.relative_position_bias.relative",
    r"^rel_pos_bias\.": "encoder.relative_position_bias.",
}
HF_DEIT = BLOCK_OF_HF | {r"^dist_token$": "embeddings.distillation_token"}
HF_DINOV3 = {
    r"^blocks\.": "layer.",
    r"\.attn\.([qkv])\.": r".attention.\1_proj.",
    r"\.attn\.proj\.": ".attention.o_proj.",
    r"\.gamma_([12])$": r".layer_scale\1.lambda1",
    r"\.mlp\.fc1_g\.": ".mlp.gate_proj.",
    r"\.mlp\.fc1(_x)?\.": ".mlp.up_proj.",
    r"\.mlp\.fc2\.": ".mlp.down_proj.",
    r"^patch_embed\.proj\.": "embeddings.patch_embeddings.",
    r"^reg_token$": "embeddings.register_tokens",
    r"^cls_token$": "embeddings.cls_token",
}
UNILM = {r"^norm\.": "norm."}  # whose names timm took
MMPRETRAIN = {
    r"^blocks\.": "layers.",
    r"\.norm([12])\.": r".ln\1.",
    r"^norm\.": "ln1.",
    r"\.mlp\.fc1\.": ".ffn.layers.0.0.",
    r"\.mlp\.fc2\.": ".ffn.layers.1.",
    r"^patch_embed\.proj\.": "patch_embed.projection.",
}


def drawn(name, **options):
    torch.manual_seed(0)
    return shaken(timm.create_model(name, num_classes=0, global_pool="", **options))


def shaken(model):
    for parameter in model.requires_grad_(False).parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def renamed(state, names):
    for old, new in names.items():
        state = {re.sub(old, new, name): value for name, value in state.items()}
    return state


def with_biases_apart(state):
    """As transformers has them: maps of queries, keys and values apart, and no bias of keys."""
    apart = split_qkv(state)
    return {re.sub(r"attn\.([qv])_bias$", r"attn.\1.bias", name): value for name, value in apart.items()}


def saved(tmp_path, state, config=None):
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config or {"num_attention_heads": 3, "hidden_act": "gelu"}))
    return tmp_path


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


BEITS = {
    "in blocks": {},
    "shared": {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    "with a table": {"use_abs_pos_emb": True, "init_values": 0.0},
}


@pytest.mark.parametrize("options", BEITS.values(), ids=BEITS)
@pytest.mark.parametrize("names", [HF_BEIT, UNILM, MMPRETRAIN], ids=["transformers", "unilm", "mmpretrain"])
def test_beit(tmp_path, images, names, options):
    vit = drawn("beit_base_patch16_224", **SIZES, **options)
    state = with_biases_apart(vit.state_dict()) if names is HF_BEIT else vit.state_dict()
    state = renamed(state, names) | {"lm_head.weight": torch.ones(2)}
    state["blocks.0.attn.relative_position_index" if names is UNILM else "n"] = torch.zeros(2, 2, dtype=torch.int64)
    encoder = maetool.load_encoder(saved(tmp_path, state))
    assert type(encoder.encoder) is TimmEncoder
    assert encoder.encoder.vit.blocks[0].attn.num_heads == 3
    torch.testing.assert_close(encoder(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)
    wide = maetool.load_encoder(tmp_path, img_size=(32, 64))
    other = TimmEncoder("beit_base_patch16_224", **SIZES | {"img_size": (32, 64)}, options=options)
    assert wide(torch.zeros(1, 3, 32, 64)).shape == (1, 1 + other.grid[0] * other.grid[1], 48)


def test_a_beit_that_pools_has_no_final_norm(tmp_path, images):
    vit = drawn("beit_base_patch16_224", **SIZES)
    state = {name: value for name, value in vit.state_dict().items() if not name.startswith("norm.")}
    state |= {"fc_norm.weight": torch.ones(48), "fc_norm.bias": torch.ones(48)}
    vit.norm = nn.Identity()
    found = maetool.load_encoder(saved(tmp_path, state))
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("names", ["timm", "transformers", "modules of transformers"])
def test_dinov3(tmp_path, images, gated, names):
    vit = drawn(f"vit_small_{'plus_' * gated}patch16_dinov3_qkvb", **SIZES)
    state = vit.state_dict()
    if names != "timm":
        state = renamed(with_biases_apart(state), HF_DINOV3)
    if names == "modules of transformers":
        state = renamed(state, {r"^layer\.": "model.layer."})
    config = {"num_attention_heads": 3, "hidden_act": "silu" if gated else "gelu", "layer_norm_eps": 1e-5}
    found = maetool.load_encoder(saved(tmp_path, state, config | {"image_size": 32}))
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)
    back = convert(tmp_path, "transformers_dinov3")
    assert back.lost == []
    expected = renamed(with_biases_apart(vit.state_dict()), HF_DINOV3)
    assert back.content["state_dict"].keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in back.content["state_dict"].items())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu" if gated else "silu"}))
    with pytest.raises(UsageError, match="describes the activation"):
        maetool.load_encoder(tmp_path)


@pytest.mark.parametrize("names", [HF_DEIT, {}], ids=["transformers", "timm"])
def test_the_token_for_distillation_is_a_register(tmp_path, images, names):
    torch.manual_seed(0)
    vit = shaken(timm.create_model("deit_tiny_distilled_patch16_224", **SIZES))
    state = {name: value for name, value in vit.state_dict().items() if not name.startswith("head")}
    state = renamed(split_qkv(state), names) if names else vit.state_dict()
    found = maetool.load_encoder(saved(tmp_path, state))
    assert found.encoder.num_prefix_tokens == 2
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("packed", [("w12", "w3"), ("weights_in", "weights_out")])
def test_gated_layers_of_dinov2(tmp_path, images, packed, registers):
    vit = drawn("vit_giant_patch14_dinov2", **SIZES | {"mlp_ratio": 4.0}, reg_tokens=registers)
    vit.pos_embed[:, 1 : 1 + registers] = 0  # so that a table without rows of registers says the same
    state = renamed(vit.state_dict(), {r"\.fc1\.": f".{packed[0]}.", r"\.fc2\.": f".{packed[1]}."})
    state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], state["pos_embed"][:, 1 + registers :]], dim=1)
    found = maetool.load_encoder(saved(tmp_path, state))
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mean_pooling", [True, False])
def test_videomae(tmp_path, mean_pooling):
    """Its positions are computed and in no file; the norm is missing where the tokens are averaged."""
    torch.manual_seed(0)
    sizes = {**SIZES, "img_size": (4, 32, 32), "patch_size": (2, 8, 8)}
    options = {"class_token": False, "pos_embed": "flat", "final_norm": not mean_pooling}
    vit = shaken(VisionTransformer(**sizes, **options))
    for block in vit.blocks:
        block.attn.qkv.bias[48:96] = 0
    table = VisionTransformer(**sizes, **options).pos_embed
    vit.pos_embed.copy_(table)
    apart = split_qkv({name: value for name, value in vit.state_dict().items() if name != "pos_embed"})
    apart = {re.sub(r"attn\.([qv])\.bias$", r"attn.\1_bias", name): value for name, value in apart.items()}
    state = renamed(apart, BLOCK_OF_HF | {r"\.attn\.([qv])_bias$": r".attention.attention.\1_bias"})
    state = {name: value for name, value in state.items() if not name.endswith("key.bias") and ".k.bias" not in name}
    state |= {"decoder.norm.weight": torch.ones(24)}
    config = {"num_attention_heads": 3, "num_frames": 4, "image_size": 32}
    clips = torch.randn(2, 3, 4, 32, 32)
    found = maetool.load_encoder(saved(tmp_path, state, config))
    torch.testing.assert_close(found(clips), vit(clips), atol=1e-5, rtol=1e-5)
    (tmp_path / "config.json").unlink()
    longer = maetool.load_encoder(tmp_path, num_heads=3, img_size=(8, 32, 32))
    assert longer(torch.zeros(1, 3, 8, 32, 32)).shape == (1, 64, 48)
    state["encoder.layer.0.extra"] = torch.ones(3)
    with pytest.raises(UsageError, match=r"not a plain ViT \(encoder\.blocks\.0\.extra"):
        maetool.load_encoder(saved(tmp_path, state, config))


@pytest.fixture
def torchvisions():
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=96
    )
    return shaken(vit)


def tokens_of_torchvision(vit, images):
    x = torch.cat([vit.class_token.expand(len(images), -1, -1), vit._process_input(images)], dim=1)
    return vit.encoder(x)


def as_lightly(state):
    """`MaskedVisionTransformerTorchvision` in a module with a decoder."""
    inside = {f"backbone.vit.{name}": value for name, value in state.items()}
    return inside | {"backbone.mask_token": torch.ones(1, 1, 48), "decoder.decoder_blocks.0.attn.b": torch.ones(3)}


def as_published(state):
    """The names of the downloads, of before version 0.13."""
    return renamed(state, {r"\.mlp\.0\.": ".mlp.linear_1.", r"\.mlp\.3\.": ".mlp.linear_2."})


@pytest.mark.parametrize("names", [dict, as_lightly, as_published])
def test_torchvisions_vit(tmp_path, torchvisions, images, names):
    found = maetool.load_encoder(saved(tmp_path, names(torchvisions.state_dict())))
    torch.testing.assert_close(found(images), tokens_of_torchvision(torchvisions, images), atol=1e-5, rtol=1e-5)
    back = convert(tmp_path, "torchvision", num_heads=3)
    assert back.lost == []
    again = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=96
    )
    again.load_state_dict(back.content["state_dict"])  # strict
    torch.testing.assert_close(again.eval()(images), torchvisions(images))


def test_lightlys_timm_beside_a_decoder(tmp_path, images):
    vit = drawn("vit_small_patch16_224", **SIZES)
    state = {f"model.backbone.vit.{name}": value for name, value in vit.state_dict().items()}
    state |= {"model.backbone.mask_token": torch.ones(1, 1, 48), "model.decoder.decoder_pred.weight": torch.ones(3, 3)}
    found = maetool.load_encoder(saved(tmp_path, state))
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)


@pytest.fixture
def swins():
    """timm's Swin, and what maetool calls its weights."""
    model = drawn("swin_tiny_patch4_window7_224", **SWIN)
    return model, {f"encoder.{name}": value for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "transformers_dinov3"])
def test_swin_of_other_projects(tmp_path, swins, name):
    model, ours = swins
    there = FAMILIES[name].from_ours(ours)
    assert recognise(there) == name
    assert left_out(ours, name) == []
    back = to_ours(there | {"attn_mask": torch.ones(2)})
    assert all(torch.equal(back[key], value) for key, value in ours.items())
    pictures = torch.randn(1, 3, 64, 64)
    encoder = maetool.load_encoder(saved(tmp_path, there))
    assert type(encoder.encoder) is SwinTransformer
    torch.testing.assert_close(encoder(pictures), model.forward_features(pictures).flatten(1, 2), atol=1e-5, rtol=1e-5)
    wide = maetool.load_encoder(tmp_path, img_size=(64, 128))
    assert wide(torch.zeros(1, 3, 64, 128)).shape == (1, 4 * 8, 96)


def test_torchvisions_swin_itself(tmp_path):
    torch.manual_seed(0)
    model = shaken(torchvision.models.SwinTransformer([4, 4], 24, [2, 2, 2], [2, 4, 8], [4, 4]))
    torch.save({"state_dict": {f"model.{key}": value for key, value in model.state_dict().items()}}, tmp_path / "x.pth")
    wide = torch.randn(1, 3, 64, 128)
    found = maetool.load_encoder(tmp_path / "x.pth", img_size=(64, 128))
    torch.testing.assert_close(found(wide), model.norm(model.features(wide)).flatten(1, 2), atol=1e-5, rtol=1e-5)
    write_conversion(convert(tmp_path / "x.pth", "torchvision_swin"), "torchvision_swin", tmp_path / "back.pth")
    again = torchvision.models.SwinTransformer([4, 4], 24, [2, 2, 2], [2, 4, 8], [4, 4]).eval()
    lacking, unknown = again.load_state_dict(torch.load(tmp_path / "back.pth"), strict=False)
    assert not unknown and all(name.endswith("relative_position_index") for name in lacking)
    torch.testing.assert_close(again(wide), model(wide))


def test_mmpretrains_order_of_neighbours():
    """`PatchMerging` there reads channel by channel, rows before columns; timm reads columns, rows, channels."""
    c, row, column = torch.meshgrid(torch.arange(3), torch.arange(2), torch.arange(2), indexing="ij")
    codes = (100 * c + 10 * row + column).flatten().float()  # as torch's Unfold orders them
    there, ours = "backbone.stages.0.downsample.norm.weight", "encoder.layers.1.downsample.norm.weight"
    merged = swin.from_mmpretrain({there: codes})[ours]
    assert merged.tolist() == [100 * c + 10 * r + x for x in (0, 1) for r in (0, 1) for c in (0, 1, 2)]
    assert torch.equal(swin.to_mmpretrain({ours: merged})[there], codes)


def test_simmims_own_file(tmp_path, swins):
    model, ours = swins
    state = {"model": FAMILIES["simmim"].from_ours(ours | {"encoder.mask_token": torch.ones(1, 1, 24)})}
    state["model"] |= {"encoder.layers.0.blocks.1.attn_mask": torch.ones(4, 16, 16), "decoder.0.bias": torch.ones(3)}
    assert "encoder.layers.0.downsample.reduction.weight" in state["model"]
    torch.save(state, tmp_path / "x.pth")
    pictures = torch.randn(1, 3, 64, 64)
    found = maetool.load_encoder(tmp_path / "x.pth", img_size=64)
    assert torch.equal(found.encoder.mask_token, torch.ones(1, 1, 24))
    torch.testing.assert_close(found(pictures), model.forward_features(pictures).flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_swin_of_the_second_version_is_refused(tmp_path, swins):
    state = swins[1] | {"encoder.layers.0.blocks.0.attn.logit_scale": torch.ones(2, 1, 1)}
    with pytest.raises(UsageError, match=r"more than SwinTransformer has \(encoder\.layers\.0\.blocks\.0\.attn\.log"):
        maetool.load_encoder(saved(tmp_path, state))
