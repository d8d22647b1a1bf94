"""Models by timm's names, and folders of timm: what weights do not show is taken from timm, or said."""

import json

import huggingface_hub
import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf

import maetool
from maetool.config.load import load_config
from maetool.encoders import SwinTransformer, TimmEncoder, VisionTransformer, from_timm
from maetool.errors import UsageError
from maetool.pretrained.initial import load_initial
from maetool.weights import addresses, unwrap
from maetool.weights.addresses import is_address, local_file

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


def drawn(name, **options):
    torch.manual_seed(0)
    vit = timm.create_model(name, **options).eval().requires_grad_(False)
    for parameter in vit.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return vit


# Each has the names and shapes of a plain ViT, or of one with a layer scale.
LOOK_PLAIN = {
    "tanh": ("vit_base_patch16_224", {"act_layer": "gelu_tanh"}),
    "quick": ("vit_base_patch16_224", {"act_layer": "quick_gelu"}),
    "rotary beside a table": ("vit_base_patch16_rope_ape_224", {}),
    "norm after the branch": ("vit_base_patch16_rpn_224", {}),
}
ARE_PLAIN = {
    "plain": ("vit_base_patch16_224", {}),
    "dinov2": ("vit_small_patch14_reg4_dinov2", {}),
    "unusual heads": ("vit_base_patch16_224", {"num_heads": 6}),
    "of any size": ("vit_base_patch16_224", {"dynamic_img_size": True}),
}


@pytest.mark.parametrize("case", [*LOOK_PLAIN, *ARE_PLAIN])
def test_a_folder_of_timm_is_what_its_config_says(tmp_path, case):
    name, options = {**LOOK_PLAIN, **ARE_PLAIN}[case]
    arguments = {**SIZES, **options}
    vit = drawn(name, num_classes=0, **arguments)
    save_for_hf(vit, tmp_path, model_args=arguments)
    found = maetool.load_encoder(tmp_path)
    assert type(found.encoder) is (VisionTransformer if case in ARE_PLAIN else TimmEncoder)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)


def test_a_swin_of_timm(tmp_path):
    arguments = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2, 2), "num_heads": (2, 4, 8)}
    model = drawn("swin_tiny_patch4_window7_224", num_classes=0, **arguments)
    save_for_hf(model, tmp_path, model_args=arguments)
    found, images = maetool.load_encoder(tmp_path), torch.randn(1, 3, 64, 64)
    assert type(found.encoder) is SwinTransformer
    torch.testing.assert_close(found(images), model.forward_features(images).flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_a_file_alone_says_what_is_assumed(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("maetool.pretrained.frozen.say", said.append)
    vit = drawn("vit_base_patch16_224", num_classes=0, **SIZES)
    torch.save(vit.state_dict(), tmp_path / "x.pth")
    maetool.load_encoder(tmp_path / "x.pth", num_heads=3)
    assert len(said) == 1 and "3 heads, the exact GELU and an epsilon of 1e-6" in said[0]
    assert "--config timm:NAME" in said[0]
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3, "hidden_act": "gelu"}))
    maetool.load_encoder(tmp_path / "x.pth")
    assert len(said) == 1


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A function that puts the weights of a model into the hub's cache, which is all that can be reached."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def put(repository, weights, **files):
        folder = tmp_path / "cache" / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / ("a" * 40)
        for path in (snapshot, folder / "refs"):
            path.mkdir(parents=True)
        (folder / "refs/main").write_text("a" * 40)
        save_file(weights, snapshot / "model.safetensors")
        for name, content in files.items():
            (snapshot / f"{name}.json").write_text(json.dumps(content))
        return snapshot

    return put


@pytest.mark.parametrize(
    ("name", "mean", "size", "kind"),
    [
        ("vit_tiny_patch16_224", 127.5, 224, VisionTransformer),
        ("vit_small_patch16_dinov3", 123.675, 256, TimmEncoder),
        ("vit_wee_patch16_reg1_gap_256.sbb_in1k", 127.5, 256, VisionTransformer),  # 4 heads of 64 channels
    ],
)
def test_by_timms_name(cached, name, mean, size, kind):
    """Nothing but the weights is in the cache, as timm leaves it."""
    vit = drawn(name, num_classes=0)
    cached(timm.get_pretrained_cfg(name).hf_hub_id, vit.state_dict())
    found = maetool.load_encoder(f"timm:{name}")
    assert type(found.encoder) is kind
    assert found.image_shape == (3, size, size)
    assert found.data_preprocessor.mean.flatten()[0].item() == pytest.approx(mean)
    images = torch.randn(1, 3, size, size)
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-4, rtol=1e-4)
    encoder = TimmEncoder(name, img_size=64, final_norm="norm.weight" in vit.state_dict())
    assert load_initial(torch.nn.ModuleDict({"encoder": encoder}), f"timm:{name}").share == 1


def test_a_repository_of_the_hub(cached):
    vit = drawn("vit_base_patch16_224", num_classes=0, **SIZES)
    facts = {"config": {"num_attention_heads": 3, "hidden_act": "gelu", "image_size": 32}}
    facts["preprocessor_config"] = {"image_mean": [0.25] * 3}
    snapshot = cached("somebody/their-vit", vit.state_dict(), **facts)
    assert local_file("hf:somebody/their-vit") == snapshot
    found = maetool.load_encoder("hf:somebody/their-vit")
    assert found.data_preprocessor.mean.flatten()[0].item() == pytest.approx(0.25 * 255)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(found(images), vit.forward_features(images), atol=1e-5, rtol=1e-5)


def test_a_size_that_patches_do_not_divide(tmp_path):
    """SigLIP's own models for 384 pixels read 27 x 27 patches of 14, and leave out the rest of the image."""
    name, small = "vit_so400m_patch14_siglip_384", {"embed_dim": 48, "depth": 1, "num_heads": 3}
    vit = drawn(name, num_classes=0, **small)
    save_for_hf(vit, tmp_path, model_args=small, safe_serialization=True)
    found = maetool.load_encoder(tmp_path)
    assert found.image_shape == (3, 378, 378)
    images = torch.randn(1, 3, 384, 384)
    tokens = found(images[..., :378, :378])
    torch.testing.assert_close(tokens, vit.forward_features(images), atol=1e-5, rtol=1e-5)
    assert load_config(f"timm:{name}").model.encoder.img_size == (378, 378)


@pytest.mark.parametrize("name", ["resnet50", "resnet50.a1_in1k", "convnext_tiny", "swinv2_tiny_window8_256"])
def test_other_models_of_timm_are_refused_before_the_hub_is_asked(monkeypatch, name):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names, **options: pytest.fail("asked the hub"))
    with pytest.raises(UsageError, match=rf"timm's {name.partition('.')[0]} is no plain ViT and no Swin"):
        maetool.load_encoder(f"timm:{name}")
    assert from_timm._MODULES | {"timm.models.swin_transformer"} == addresses.HELD


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("timm:vit_small_patch14_reg4_dinov2", r"cannot be read from huggingface.co/timm/vit_small_patch14_reg4"),
        ("timm:vit_smal_patch14_reg4_dinov2", r"no weights called .*; near names with weights: vit_small_patch14_reg"),
        ("timm:vit_tiny_patch16_224.none", r"no weights called .*; near names with weights: vit_tiny_patch16_224\."),
        ("hf:nobody/nothing", r"cannot be read from huggingface.co/nobody/nothing \(.*connect this machine"),
    ],
)
def test_what_cannot_be_reached(source, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        maetool.load_encoder(source)
    assert "\n" not in str(info.value)


def test_a_name_of_timm_is_a_config(tmp_path):
    vit = drawn("eva02_tiny_patch14_224", num_classes=3)
    torch.save(vit.state_dict(), tmp_path / "x.pth")
    with pytest.raises(UsageError, match=r"not a plain ViT .*--config timm:NAME"):
        maetool.load_encoder(tmp_path / "x.pth", num_heads=3)
    found = maetool.load_encoder(tmp_path / "x.pth", config="timm:eva02_tiny_patch14_224")
    images = torch.randn(1, 3, 224, 224)
    assert torch.equal(found(images), vit.forward_features(images))
    model = load_config("timm:beit_base_patch16_224").model
    assert model.encoder.name == "beit_base_patch16_224" and model.encoder.img_size == (224, 224)
    assert model.encoder.final_norm is False
    assert model.data_preprocessor.mean == [127.5] * 3
    with pytest.raises(UsageError, match=r"no model called 'beit_bas'; near names: "):
        load_config("timm:beit_bas")


def test_names_of_hubs_are_addresses():
    assert is_address("timm:vit_tiny_patch16_224.augreg_in21k") and is_address("hf:facebook/dinov2-small")
    assert not is_address("timm") and not is_address("folder/timm:x") and not is_address("c:model")


def test_what_stands_beside_an_encoder_is_left_out_and_said(monkeypatch):
    said = []
    monkeypatch.setattr(unwrap, "say", said.append)
    weights = {"a.vit.patch_embed.proj.weight": torch.ones(1), "a.vit.norm.weight": torch.ones(1)}
    others = {"projector.0.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert unwrap.unwrap(weights | others, "FILE").keys() == {"patch_embed.proj.weight", "norm.weight", "head.weight"}
    left_out = "1 tensors of other parts, such as projector.0.weight, were left out"
    assert said == [f"FILE: the prefix `a.vit.` was taken off 2 of 4 names; {left_out}."]
