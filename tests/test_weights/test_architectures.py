"""Encoders of other projects are built as what they are, or refused with the names of what is different."""

import re

import pytest
import timm
import torch
from timm.layers import RmsNorm, SwiGLUPacked
from timm.models import eva

import maetool
from maetool.encoders import TimmEncoder, VisionTransformer
from maetool.errors import UsageError
from maetool.pretrained.export import encoder_of
from maetool.pretrained.initial import load_initial
from maetool.teachers.weights import load_encoder as load_teacher
from maetool.testing import tiny_model
from maetool.weights.formats.architecture import describe_encoder
from maetool.weights.formats.key_map import fuse_qkv, split_qkv
from maetool.weights.formats.openmmlab import to_mmpretrain
from maetool.weights.formats.plain import as_plain
from maetool.weights.formats.transformers import to_transformers

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
TINY = {**SIZES, "num_classes": 0}
BUILT = {
    "plain": {},
    "layer scale": {"init_values": 0.1},
    "registers": {"reg_tokens": 4},
    "registers without positions": {"reg_tokens": 4, "no_embed_class": True},
    "positions of patches alone": {"no_embed_class": True},
    "no class token": {"class_token": False, "global_pool": "avg"},
    "registers alone": {"class_token": False, "global_pool": "avg", "reg_tokens": 2, "no_embed_class": True},
    "no biases of queries": {"qkv_bias": False},
    "norms of queries": {"qk_norm": True, "num_heads": 4},
    "narrow hidden layer": {"mlp_ratio": 2.5},
    "dinov2": {"init_values": 1e-5, "reg_tokens": 4, "no_embed_class": True, "qk_norm": True},
}
REFUSED = {
    "swiglu": ({"mlp_layer": SwiGLUPacked}, "encoder.blocks.0.mlp.fc1.weight of 192 channels before 96"),
    "norm before the blocks": ({"pre_norm": True}, "encoder.norm_pre.weight"),
    "rms": ({"norm_layer": RmsNorm}, "encoder.blocks.0.norm1.weight without"),
    "norm of the hidden layer": ({"scale_mlp_norm": True}, "encoder.blocks.0.mlp.norm.weight"),
    "norm of the attention": ({"scale_attn_norm": True}, "encoder.blocks.0.attn.norm.weight"),
    "no positions": ({"pos_embed": "none"}, "without encoder.pos_embed"),
}


def drawn(**options):
    torch.manual_seed(0)
    vit = timm.create_model("vit_small_patch16_224", **{**TINY, **options}).eval().requires_grad_(False)
    for value in vit.parameters():
        value.add_(torch.randn_like(value) * 0.1)
    return vit


def saved(tmp_path, state):
    torch.save(state, tmp_path / "x.pth")
    return tmp_path / "x.pth"


def ours(vit):
    return {f"encoder.{name}": value for name, value in vit.state_dict().items()}


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", BUILT.values(), ids=BUILT)
def test_what_our_encoder_has_is_built(tmp_path, images, options):
    vit = drawn(**options)
    path = saved(tmp_path, {"model": vit.state_dict()})
    heads = None if options.get("qk_norm") else 3
    found = maetool.load_encoder(path, num_heads=heads)
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-4, rtol=1e-4)
    again = saved(tmp_path, encoder_of(maetool.weights.read_checkpoint(path), str(path), num_heads=heads))
    assert torch.equal(maetool.load_encoder(again)(images), found(images))


def as_dinov2(vit):
    """Names of facebookresearch/dinov2, with registers, in chunks."""
    state = {name.replace("reg_token", "register_tokens"): value for name, value in vit.state_dict().items()}
    return {re.sub(r"^blocks\.(\d)\.", r"blocks.\1.\1.", name): value for name, value in state.items()}


def as_dinov3(vit):
    """Names of facebookresearch/dinov3."""
    state = {"mask_token": torch.zeros(1, vit.embed_dim), "rope_embed.periods": vit.rope.periods.bfloat16()}
    for name, value in vit.state_dict().items():
        name = re.sub(r"gamma_([12])", r"ls\1.gamma", name.replace("reg_token", "storage_tokens"))
        for new, old in (("w1", "fc1_g"), ("w2", "fc1_x"), ("w3", "fc2")):
            name = name.replace(f"mlp.{old}.", f"mlp.{new}.") if hasattr(vit.blocks[0].mlp, "fc1_g") else name
        if name.endswith("q_bias"):
            other = vit.state_dict()[name.replace("q_bias", "v_bias")]
            state[name.replace("q_bias", "qkv.bias")] = torch.cat([value, torch.zeros_like(value), other])
            state[name.replace("q_bias", "qkv.bias_mask")] = torch.ones(3 * len(value))
        elif not name.endswith("v_bias"):
            state[name] = value
    return state


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3_qkvb", "vit_small_plus_patch16_dinov3_qkvb"])
def test_dinov3_is_built_with_its_rotary_positions(tmp_path, images, name):
    torch.manual_seed(0)
    vit = timm.create_model(name, **TINY, num_reg_tokens=2).eval().requires_grad_(False)
    for value in vit.parameters():
        value.add_(torch.randn_like(value) * 0.1)
    state = as_dinov3(vit)
    theirs = eva.checkpoint_filter_fn(state, vit)
    assert theirs.keys() == vit.state_dict().keys()  # so these are the names of the published files
    found = maetool.load_encoder(saved(tmp_path, state), img_size=32)
    assert type(found.encoder) is TimmEncoder
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-4, rtol=1e-4)
    wide = torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(0))
    other = maetool.load_encoder(saved(tmp_path, {"model": state}), img_size=(48, 32))
    torch.testing.assert_close(other(wide), vit.forward_features(wide), atol=1e-4, rtol=1e-4)
    with pytest.raises(UsageError, match=r"other angles than DINOv3's published models"):
        maetool.load_encoder(saved(tmp_path, {**state, "rope_embed.periods": state["rope_embed.periods"] * 2}))


def as_transformers(vit):
    """Names of Dinov2WithRegisters."""
    state = to_transformers(ours(vit))
    for name, value in vit.state_dict().items():
        if match := re.fullmatch(r"blocks\.(\d)\.ls(\d)\.gamma", name):
            state[f"vit.encoder.layer.{match[1]}.layer_scale{match[2]}.lambda1"] = value
    changes = {"layernorm_before": "norm1", "layernorm_after": "norm2", "intermediate.dense": "mlp.fc1"}
    changes |= {r"(?<!attention\.)output\.dense": "mlp.fc2", r"^vit\.": ""}
    state["vit.embeddings.register_tokens"] = vit.reg_token
    for old, new in changes.items():
        state = {re.sub(old, new, name): value for name, value in state.items()}
    return state


def as_beit(vit):
    names = {name: re.sub(r"ls([12])\.gamma", r"gamma_\1", name) for name in vit.state_dict()}
    return {names[name]: value for name, value in vit.state_dict().items()}


def as_split(vit):
    names = {name: re.sub(r"(attn\.[qkv])\.", r"\1_proj.", name) for name in split_qkv(vit.state_dict())}
    return {names[name]: value for name, value in split_qkv(vit.state_dict()).items()}


@pytest.mark.parametrize("rename", [as_dinov2, as_transformers, as_beit, as_split], ids=lambda rename: rename.__name__)
@pytest.mark.parametrize("scale", [0.1, None])
def test_names_of_other_projects(tmp_path, images, rename, scale):
    vit = drawn(init_values=scale, reg_tokens=4)
    vit.pos_embed[:, 1:5] = 0  # so that a table without rows of registers says the same
    state = rename(vit)
    for name in [name for name in state if name.endswith(("pos_embed", "position_embeddings"))]:
        state[name] = torch.cat([state[name][:, :1], state[name][:, 5:]], dim=1)
    path = saved(tmp_path, state)
    torch.testing.assert_close(maetool.load_encoder(path, num_heads=3)(images), vit.forward_features(images))
    teacher = VisionTransformer(**SIZES, layer_scale=scale, num_registers=4, pos_embed="learned").eval()
    load_teacher(teacher, str(path))
    torch.testing.assert_close(teacher(images), vit.forward_features(images))


@pytest.mark.parametrize(("options", "name"), REFUSED.values(), ids=REFUSED)
def test_what_our_encoder_has_not_is_refused_by_name(tmp_path, options, name):
    path = saved(tmp_path, drawn(**options).state_dict())
    with pytest.raises(UsageError, match=rf"not a plain ViT \({re.escape(name)}"):
        maetool.load_encoder(path, num_heads=3)


@pytest.mark.parametrize("missing", ["norm.weight", "norm.bias", "cls_token", "blocks.1.norm2.bias", "pos_embed"])
def test_no_tensor_may_be_missing_however_small(tmp_path, missing):
    state = {name: value for name, value in ours(tiny_model().encoder).items() if name != f"encoder.{missing}"}
    model, path = tiny_model(), saved(tmp_path, state)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=rf"1 tensors are missing \(encoder\.{missing}\)"):
        load_initial(model, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert load_initial(model, path, min_share=0.5).share < 1


def test_layer_scale_of_mmpretrain(tmp_path, images):
    vit = drawn(init_values=0.3)
    plain = {name: value for name, value in ours(vit).items() if ".ls" not in name}
    state = to_mmpretrain(plain) | {
        f"backbone.layers.{i}.gamma{j}.weight": vit.state_dict()[f"blocks.{i}.ls{j}.gamma"]
        for i in (0, 1)
        for j in (1, 2)
    }
    found = maetool.load_encoder(saved(tmp_path, {"state_dict": state, "meta": {}}), num_heads=3)
    torch.testing.assert_close(found(images), vit.forward_features(images))


@pytest.mark.parametrize(
    "unused", ["blocks.1.ls1.gamma", "blocks.0.attn.head_scale", "blocks.9.norm1.bias", "reg_token"]
)
def test_no_tensor_of_a_block_may_be_unused(tmp_path, unused):
    state = ours(tiny_model().encoder) | {f"encoder.{unused}": torch.ones(1, 1, 48)}
    model, path = tiny_model(), saved(tmp_path, state)
    with pytest.raises(UsageError, match=rf"1 tensors are unused \(encoder\.{unused}\)"):
        load_initial(model, path)
    with pytest.raises(UsageError, match=rf"1 tensors are unused \(encoder\.{unused}\)"):
        load_teacher(model.encoder, str(path))
    assert load_initial(model, path, min_share=0.5).share == 1


def test_an_encoder_of_timm_keeps_its_names(tmp_path):
    model = TimmEncoder("beit_base_patch16_224", **SIZES)
    state = {f"encoder.{name}": value for name, value in model.state_dict().items()}
    assert "encoder.blocks.0.gamma_1" in state
    wrapped = torch.nn.ModuleDict({"encoder": model})
    assert load_initial(wrapped, saved(tmp_path, state)).share == 1


def test_heads_follow_from_the_norms_of_queries():
    weights = ours(drawn(qk_norm=True, num_heads=4))
    assert describe_encoder(as_plain(weights), "x.pth")["num_heads"] == 4


def test_no_bias_of_keys_is_one_of_zero():
    state = {f"encoder.blocks.0.attn.{which}.weight": torch.ones(4, 4) for which in "qkv"}
    state |= {f"encoder.blocks.0.attn.{which}.bias": torch.ones(4) for which in "qv"}
    assert fuse_qkv(state)["encoder.blocks.0.attn.qkv.bias"].tolist() == [1.0] * 4 + [0.0] * 4 + [1.0] * 4
    other = {"encoder.blocks.1.attn.k.bias": torch.ones(4)}  # so one is lost
    with pytest.raises(UsageError, match="without the keys and values"):
        fuse_qkv(state | other)
