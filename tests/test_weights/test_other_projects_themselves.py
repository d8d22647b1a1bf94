"""Models that transformers and lightly build and save themselves, where they are installed: the same tokens here."""

import pytest
import timm
import torch
from torch import nn

import maetool

SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 32, "patch_size": 8}
SWIN = {"image_size": 64, "embed_dim": 24, "depths": [2, 2, 2], "num_heads": [2, 4, 8], "window_size": 4}
EPS = {"layer_norm_eps": 1e-6}
BEIT = {"use_relative_position_bias": True, "use_absolute_position_embeddings": False, **EPS}
CASES = {
    "BEiT": ("BeitModel", "BeitConfig", BEIT),
    "Data2Vec": ("Data2VecVisionModel", "Data2VecVisionConfig", {"use_relative_position_bias": True, **EPS}),
    "DeiT": ("DeiTModel", "DeiTConfig", EPS),
    "MSN": ("ViTMSNModel", "ViTMSNConfig", {}),
    "I-JEPA": ("IJepaModel", "IJepaConfig", EPS),
    "DINOv2": ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", {}),
    "DINOv2 giant": ("Dinov2Model", "Dinov2Config", {"use_swiglu_ffn": True}),
    "DINOv3": ("DINOv3ViTModel", "DINOv3ViTConfig", {"num_register_tokens": 4}),
    "DINOv3 gated": (
        "DINOv3ViTModel",
        "DINOv3ViTConfig",
        {"num_register_tokens": 4, "use_gated_mlp": True, "hidden_act": "silu"},
    ),
}


def shaken(model):
    torch.manual_seed(0)
    for parameter in model.requires_grad_(False).parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize(("model", "config", "options"), CASES.values(), ids=CASES)
def test_transformers(tmp_path, model, config, options):
    transformers = pytest.importorskip("transformers")
    theirs = shaken(getattr(transformers, model)(getattr(transformers, config)(**SIZES, **options)))
    theirs.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    tokens = theirs(images).last_hidden_state
    torch.testing.assert_close(maetool.load_encoder(tmp_path)(images), tokens, atol=2e-5, rtol=1e-5)


RESIZED = {
    "ViT": ("ViTModel", "ViTConfig", EPS),
    "DeiT": CASES["DeiT"],
    "I-JEPA": CASES["I-JEPA"],
    "DINOv2": ("Dinov2Model", "Dinov2Config", {}),
    "DINOv3": CASES["DINOv3"],
    "CLIP": ("CLIPVisionModel", "CLIPVisionConfig", {}),
    "SigLIP": ("SiglipVisionModel", "SiglipVisionConfig", {}),
}


@pytest.mark.parametrize("shape", [(64, 64), (24, 40)])
@pytest.mark.parametrize(("model", "config", "options"), RESIZED.values(), ids=RESIZED)
def test_at_other_sizes(tmp_path, model, config, options, shape):
    transformers = pytest.importorskip("transformers")
    theirs = shaken(getattr(transformers, model)(getattr(transformers, config)(**SIZES, **options)))
    theirs.save_pretrained(tmp_path)
    images = torch.randn(2, 3, *shape)
    asked = {} if "DINOv" in model or "Dinov" in model else {"interpolate_pos_encoding": True}  # which always do
    tokens = theirs(images, **asked).last_hidden_state
    tokens = theirs.post_layernorm(tokens) if "CLIP" in model else tokens
    torch.testing.assert_close(maetool.load_encoder(tmp_path, img_size=shape)(images), tokens, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("model", ["SwinModel", "SwinForImageClassification"])
def test_swin_of_transformers(tmp_path, model):
    transformers = pytest.importorskip("transformers")
    theirs = shaken(getattr(transformers, model)(transformers.SwinConfig(**SWIN)))
    theirs.save_pretrained(tmp_path)
    images = torch.randn(1, 3, 64, 64)
    tokens = getattr(theirs, "swin", theirs)(images).last_hidden_state
    torch.testing.assert_close(maetool.load_encoder(tmp_path)(images), tokens, atol=2e-5, rtol=1e-5)


def test_videomae_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    theirs = shaken(transformers.VideoMAEModel(transformers.VideoMAEConfig(**SIZES, **EPS, num_frames=4)))
    theirs.save_pretrained(tmp_path)
    clips = torch.randn(1, 3, 4, 32, 32)
    tokens = theirs(clips.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(maetool.load_encoder(tmp_path)(clips), tokens, atol=2e-5, rtol=1e-5)


def test_lightly_in_a_module_with_a_decoder(tmp_path):
    modules = pytest.importorskip("lightly.models.modules")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
    wrapped = shaken(modules.MaskedVisionTransformerTIMM(timm.create_model("vit_small_patch16_224", **sizes)))
    module = nn.ModuleDict({"backbone": wrapped, "decoder": nn.ModuleDict({"decoder_pred": nn.Linear(3, 3)})})
    torch.save({"state_dict": module.state_dict(), "epoch": 1}, tmp_path / "x.ckpt")
    images = torch.randn(2, 3, 32, 32)
    found = maetool.load_encoder(tmp_path / "x.ckpt", num_heads=3)
    torch.testing.assert_close(found(images), wrapped.encode(images), atol=2e-5, rtol=1e-5)
