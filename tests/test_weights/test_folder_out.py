"""Encoders as folders that timm and transformers open: the same tokens there, and when they come back."""

import json
import sys

import pytest
import timm
import torch
from mmengine import Config
from safetensors.torch import load_file, save_file

import maetool
from maetool.commands import export_encoder
from maetool.errors import UsageError
from maetool.pretrained.export import describe
from maetool.pretrained.folder import write_folder

VIT = {"type": "VisionTransformer", "img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
DINO = {"type": "TimmEncoder", "name": "vit_small_patch14_reg4_dinov2", "img_size": 28, "depth": 1, "embed_dim": 48}
DINO |= {"num_heads": 3}
BEIT = {**DINO, "name": "beit_base_patch16_224", "img_size": 32}


def shaken(**changes):
    """Return an encoder in which every number is random."""
    encoder = changes if "type" in changes else {**VIT, **changes}
    numbers = [[value] * encoder.get("in_chans", 3) for value in (100.0, 50.0)]
    images = {"type": "ImagePreprocessor", "mean": numbers[0], "std": numbers[1]}
    model = maetool.load_encoder(Config({"model": {"encoder": encoder, "data_preprocessor": images}}))
    generator = torch.Generator().manual_seed(1)
    for value in model.encoder.state_dict().values():
        value += 0.1 * torch.randn(value.shape, generator=generator)
    return model


CHANGES = [
    {},
    {"img_size": (16, 40)},
    {"in_chans": 5},
    {"patch_size": (4, 8), "qkv_bias": False},
    {"pos_embed": "learned", "mlp_ratio": 2.0, "sees": "all"},
]
FOR_TIMM = [
    {"num_registers": 2, "layer_scale": 0.1},
    {"class_token": False, "qk_norm": True},
    {"final_norm": False},
    DINO,
    {**DINO, "final_norm": False},
    {**BEIT, "final_norm": False},
    {**DINO, "name": "eva02_base_patch14_224", "final_norm": False},
]
DINOV3 = {**DINO, "name": "vit_small_patch16_dinov3", "img_size": 32}
SWIN = {"type": "SwinTransformer", "img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2, 2)}
SWIN |= {"num_heads": (2, 4, 8)}
FOR_TRANSFORMERS = {
    "Dinov2Model": {"layer_scale": 0.1, "in_chans": 5, "mlp_ratio": 2.0},
    "Dinov2WithRegistersModel": {"layer_scale": 0.1, "num_registers": 4, "qkv_bias": False},
    "Dinov2WithRegistersModel of timm": DINO,
    "Dinov2Model of timm, gated": {**DINO, "name": "vit_giant_patch14_dinov2"},
    "DeiTModel": {"num_registers": 1, "img_size": (16, 40)},
    "IJepaModel": {"class_token": False, "img_size": (16, 40)},
    "BeitModel": BEIT,
    "BeitModel, pooled": {**BEIT, "final_norm": False, "options": {"use_abs_pos_emb": True, "init_values": 0.0}},
    "BeitModel, shared": {**BEIT, "options": {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}},
    "DINOv3ViTModel": {**DINOV3, "options": {"rope_temperature": 10.0}},
    "DINOv3ViTModel, gated": {**DINOV3, "name": "vit_small_plus_patch16_dinov3_qkvb"},
    "SwinModel": SWIN,
    "SwinModel, rectangle": {**SWIN, "img_size": (128, 192), "mlp_ratio": 2.0, "in_chans": 1},
}


def as_of_others(folder):
    """Take maetool's facts out of the weights, so that only config.json and the preprocessor's file describe them."""
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")


def comes_back(folder, model):
    raw = torch.randint(0, 256, (1, *model.image_shape), generator=torch.Generator().manual_seed(2))
    back = maetool.load_encoder(folder)
    torch.testing.assert_close(back(back.normalise(raw)), model(model.normalise(raw)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", CHANGES + FOR_TIMM)
def test_timm_opens_it(tmp_path, changes):
    model = shaken(**changes)
    write_folder(model, describe(model.section), "timm", tmp_path / "out")
    vit = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.randn(2, *model.image_shape)
    torch.testing.assert_close(vit.forward_features(images), model(images), atol=1e-5, rtol=1e-5)
    assert vit.pretrained_cfg["mean"][0] == pytest.approx(100 / 255)
    assert vit.pretrained_cfg["input_size"] == model.image_shape
    comes_back(tmp_path / "out", model)
    as_of_others(tmp_path / "out")
    comes_back(tmp_path / "out", model)


@pytest.mark.parametrize("changes", CHANGES)
def test_transformers_opens_it(tmp_path, changes):
    model = shaken(**changes)
    write_folder(model, describe(model.section), "transformers", tmp_path / "out")
    comes_back(tmp_path / "out", model)
    as_of_others(tmp_path / "out")
    comes_back(tmp_path / "out", model)
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    vit = transformers.AutoModel.from_pretrained(tmp_path / "out", add_pooling_layer=False).eval()
    images = torch.randn(2, *model.image_shape)
    torch.testing.assert_close(vit(images).last_hidden_state, model(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "changes"), FOR_TRANSFORMERS.items(), ids=FOR_TRANSFORMERS)
def test_transformers_opens_other_models(tmp_path, name, changes):
    model, out = shaken(**changes), tmp_path / "out"
    if "num_registers" in changes and "layer_scale" in changes:  # which have no positions in DINOv2
        model.encoder.state_dict()["pos_embed"][:, 1 : 1 + changes["num_registers"]] = 0
    write_folder(model, describe(model.section), "transformers", out)
    cls = name.partition(" ")[0].rstrip(",")
    assert json.loads((out / "config.json").read_text())["architectures"] == [cls]
    comes_back(out, model)
    as_of_others(out)
    comes_back(out, model)
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    theirs = transformers.AutoModel.from_pretrained(out).eval()
    assert type(theirs).__name__ == cls
    images = torch.randn(2, *model.image_shape)
    torch.testing.assert_close(theirs(images).last_hidden_state, model(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("to", "changes", "reason"),
    [
        ("timm", {"qkv_bias": "qv"}, "cannot be a VisionTransformer with another qkv_bias"),
        ("timm", {"pos_embed": "rotary"}, "another pos_embed"),
        ("timm", {"norm_layer": "rms"}, "another norm_layer"),
        ("transformers", {"num_registers": 2}, "another num_registers.*, or --to timm"),
        ("transformers", {"final_norm": False}, "another final_norm"),
        ("transformers", {**DINO, "name": "eva02_base_patch14_224"}, "cannot be a TimmEncoder"),
        ("transformers", {**DINO, "options": {"act_layer": "relu"}}, "with another act_layer"),
        ("transformers", {**DINO, "img_size": (28, 56)}, "with images that are no squares"),
        ("transformers", {"layer_scale": 0.1, "class_token": False}, "with no class token"),
        ("transformers", {"layer_scale": 0.1, "num_registers": 2}, "with positions of its registers"),
        ("transformers", {"class_token": False, "num_registers": 1}, "tensors beside those of IJepaModel"),
        ("transformers", {**BEIT, "options": {"qkv_bias": False}}, "with no biases of queries and values"),
        ("transformers", {**BEIT, "img_size": (32, 64)}, "with images that are no squares"),
        ("transformers", {**SWIN, "img_size": (64, 128)}, "longer than a window along one axis only"),
        ("transformers", {"type": "HybridTransformer", "img_size": 32}, "cannot be a HybridTransformer"),
    ],
)
def test_what_a_project_lacks_is_refused(tmp_path, to, changes, reason):
    model = shaken(**changes)
    with pytest.raises(UsageError, match=reason):
        write_folder(model, describe(model.section), to, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path, monkeypatch, capsys):
    model, out = shaken(), tmp_path / "out"
    torch.save(model.encoder.state_dict(), tmp_path / "x.pth")
    words = ["export_encoder", str(tmp_path / "x.pth"), "--num-heads", "3", "--out", str(out), "--to", "timm", "--half"]
    monkeypatch.setattr(sys, "argv", words)
    export_encoder.main()
    assert f'opened by timm.create_model("local-dir:{out}", pretrained=True); largest' in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "preprocessor_config.json"),
    }
    assert load_file(out / "model.safetensors")["pos_embed"].dtype == torch.float16
    assert json.loads((out / "config.json").read_text())["num_features"] == 48
    monkeypatch.setattr(sys, "argv", [*words[:5], str(tmp_path / "x.safetensors"), *words[6:]])
    with pytest.raises(UsageError, match="--to timm writes a folder"):
        export_encoder.main()
