"""Folders of transformers whose config.json says what weights do not show: taken, or refused, but never passed over."""

import pytest
import timm
import torch
from test_weights.test_other_encoders import HF_DINOV3, SIZES, SWIN, drawn, renamed, saved, with_biases_apart

import maetool
from maetool.encoders import TimmEncoder
from maetool.errors import UsageError
from maetool.weights.formats import swin
from maetool.weights.formats.table import recognise
from maetool.weights.formats.transformers_clip import to_transformers

TOWERS = {
    "CLIP": ("vit_base_patch16_clip_quickgelu_224", "clip_vision_model", None),
    "CLIP of others": ("vit_base_patch16_clip_224", "clip", "gelu"),
    "SigLIP": ("vit_base_patch16_siglip_224", "siglip", None),
    "SigLIP with the exact GELU": ("vit_base_patch16_siglip_224", "siglip_vision_model", "gelu"),
}


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "model", "activation"), TOWERS.values(), ids=TOWERS)
def test_towers_of_pictures_and_texts(tmp_path, images, name, model, activation):
    usual = {} if activation or "siglip" not in name else {"act_layer": "gelu_tanh"}
    vit = drawn(name, **SIZES, **usual)
    state = to_transformers({f"encoder.{key}": value for key, value in vit.state_dict().items()})
    assert recognise(state) == "transformers_clip"
    state = {key: value for key, value in state.items() if "pool" not in key}
    beside = {"text_model.encoder.layers.0.layer_norm1.weight": torch.ones(3), "logit_scale": torch.ones(1)}
    facts = {"num_attention_heads": 3, "image_size": 32, "patch_size": 8, "model_type": model}
    facts |= {"hidden_act": activation} if activation else {}
    encoder = maetool.load_encoder(saved(tmp_path, state | beside, {"model_type": model, "vision_config": facts}))
    torch.testing.assert_close(encoder(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)
    wide = maetool.load_encoder(tmp_path, img_size=(32, 64))
    assert wide(torch.zeros(1, 3, 32, 64)).shape[1] == 32 + vit.num_prefix_tokens
    bare = {key.removeprefix("vision_model."): value for key, value in state.items()}
    torch.testing.assert_close(maetool.load_encoder(saved(tmp_path, bare, facts))(images), encoder(images))
    with pytest.raises(UsageError, match="activation 'relu'"):
        maetool.load_encoder(saved(tmp_path, bare, facts | {"hidden_act": "relu"}))


@pytest.mark.parametrize(("name", "sign"), [("clip", r"norm_pre"), ("siglip", r"pooler\.probe")])
def test_a_tower_alone_is_not_taken_for_a_plain_vit(tmp_path, name, sign):
    vit = drawn(f"vit_base_patch16_{name}_224", **SIZES)
    state = to_transformers({f"encoder.{key}": value for key, value in vit.state_dict().items()})
    state |= {"vision_model.head.probe": torch.ones(1, 1, 48)} if name == "siglip" else {}
    with pytest.raises(UsageError, match=rf"not a plain ViT \(.*{sign}"):
        maetool.load_encoder(saved(tmp_path, state))


def test_the_base_of_rotary_positions(tmp_path, images):
    vit = drawn("vit_small_patch16_dinov3_qkvb", **SIZES, rope_temperature=10.0)
    state = renamed(with_biases_apart(vit.state_dict()), HF_DINOV3)
    facts = {"num_attention_heads": 3, "hidden_act": "gelu", "image_size": 32, "rope_theta": 10.0}
    encoder = maetool.load_encoder(saved(tmp_path, state, facts))
    assert type(encoder.encoder) is TimmEncoder
    torch.testing.assert_close(encoder(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)
    keys = {
        name.replace("q_proj.bias", "k_proj.bias"): value + 1 for name, value in state.items() if "q_proj.b" in name
    }
    with pytest.raises(UsageError, match="not a plain ViT"):
        maetool.load_encoder(saved(tmp_path, state | keys, facts))


@pytest.mark.parametrize(
    ("project", "name"),
    [
        ("transformers", "swin.embeddings.position_embeddings"),
        ("transformers", "swin.encoder.layers.0.blocks.0.attention.self.logit_scale"),
        ("mmpretrain", "backbone.absolute_pos_embed"),
        ("microsoft", "absolute_pos_embed"),
    ],
)
def test_what_swin_lacks_is_refused_in_all_names(tmp_path, project, name):
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **SWIN)
    state = {f"encoder.{key}": value for key, value in model.state_dict().items()}
    state = getattr(swin, f"to_{project}")(state) | {name: torch.ones(1, 256, 24)}
    with pytest.raises(UsageError, match=r"more than SwinTransformer has \(encoder\."):
        maetool.load_encoder(saved(tmp_path, state, {"image_size": 64}))


def test_rectangles_that_transformers_shifts_otherwise(tmp_path):
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **SWIN)
    state = swin.to_transformers({f"encoder.{key}": value for key, value in model.state_dict().items()})
    facts = {"model_type": "swin", "image_size": [64, 128]}
    with pytest.raises(UsageError, match="along one axis only"):
        maetool.load_encoder(saved(tmp_path, state, facts))
    assert maetool.load_encoder(saved(tmp_path, state, facts | {"image_size": [128, 192]})).image_shape == (3, 128, 192)
    assert maetool.load_encoder(tmp_path, img_size=(64, 128)).image_shape == (3, 64, 128)
