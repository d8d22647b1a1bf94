"""Published ViTs continued and fine-tuned by `TimmEncoder`: in at any size, a step of training, and back into timm."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from maetool.ops.kernel import adapt_channels
from maetool.pretrained.initial import load_initial
from maetool.testing import tiny_model

SIZES = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
FAMILIES = {
    "dinov2": "vit_small_patch14_reg4_dinov2",
    "dinov3": "vit_small_patch16_dinov3",
    "eva02": "eva02_base_patch14_224",
    "siglip": "vit_base_patch16_siglip_224",
    "beit": "beit_base_patch16_224",
}
SHAPES = {"same": (3, 32, 32), "larger": (3, 48, 48), "rectangle": (3, 32, 64), "four channels": (4, 32, 32)}


def timms(name, shape=(3, 32, 32)):
    vit = timm.create_model(name, num_classes=0, global_pool="", img_size=shape[1:], in_chans=shape[0], **SIZES)
    return vit.eval()


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES)
def published(request, tmp_path):
    """The name of a model, and a file with weights of it for images of 32 pixels."""
    torch.manual_seed(0)
    vit = timms(request.param).requires_grad_(False)
    for parameter in vit.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    save_file(vit.state_dict(), tmp_path / "model.safetensors")
    return request.param, vit, tmp_path / "model.safetensors"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_masked_pretraining_goes_on_and_returns_to_timm(published, shape):
    name, first, path = published
    encoder = {"type": "TimmEncoder", "name": name, "img_size": shape[1:], "in_chans": shape[0], **SIZES}
    statistics = {"mean": [120.0] * shape[0], "std": [60.0] * shape[0]}
    model = tiny_model(encoder=encoder, data_preprocessor={"type": "ImagePreprocessor", **statistics})
    assert load_initial(model, path, adapt=["channels"]).share == 1
    tables = ("pos_embed", "relative_position_bias_table", "patch_embed.proj.weight")  # which depend on the shape
    for key, value in model.encoder.state_dict().items():
        assert key.endswith(tables) or torch.equal(value, first.state_dict()[key]), key
    kernel = adapt_channels(first.patch_embed.proj.weight, shape[0])
    assert torch.equal(model.encoder.vit.patch_embed.proj.weight, kernel)
    images = torch.randn(2, *shape)
    if shape == (3, 32, 32):
        torch.testing.assert_close(model.eval().encoder(images), first.forward_features(images), atol=1e-5, rtol=1e-5)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()(images)["loss"].backward()
    optimizer.step()
    again = timms(name, shape)
    again.load_state_dict(model.encoder.state_dict())  # strict
    tokens = model.eval().encoder(images)
    torch.testing.assert_close(tokens, again.forward_features(images), atol=1e-5, rtol=1e-5)
    assert not torch.equal(again.blocks[0].norm1.weight, first.blocks[0].norm1.weight)  # it was trained


def test_other_means_and_deviations_are_named(published):
    name, _, path = published
    model = tiny_model(encoder={"type": "TimmEncoder", "name": name, "img_size": 32, **SIZES})
    assert load_initial(model, path).remark == ""
    facts = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (path.parent / "preprocessor_config.json").write_text(json.dumps(facts))
    remark = load_initial(model, path).remark
    assert "model.data_preprocessor.mean=[127.5,127.5,127.5] model.data_preprocessor.std=[63.75,63.75,63.75]" in remark
