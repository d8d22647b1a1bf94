"""Weights of other projects: their numbers after conversion, and back without loss (tests/data/README.md)."""

import pytest
import timm
import torch
from golden import close, load, load_all

from maetool.decoders import TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget
from maetool.weights.formats.table import FORMATS, left_out, recognise, to_ours

FILES = {
    "mae_norm_pixel": "mae",
    "vit_finetune_avg": "mae",
    "vit_finetune_cls": "mae",
    "mae_transformers": "transformers",
    "mae_mmpretrain": "mmpretrain",
}
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


def mae(pos_embed):
    encoder, target = VisionTransformer(**SIZES), PixelTarget(8)
    decoder = TransformerDecoder(
        48, target.out_dim, encoder.grid, embed_dim=32, depth=2, num_heads=4, pos_embed=pos_embed
    )
    return MaskedImageModel(RandomMasker(), encoder, decoder, target, RegressionHead())


@pytest.mark.parametrize("name", ["mae_transformers", "mae_mmpretrain"])
def test_the_published_loss(data_dir, name):
    golden, state = load(data_dir, name)
    model = mae("learned")  # the tables of both are others than ours
    load_all(model, to_ours(state))
    plan = MaskPlan.from_scores(golden["noise"], 4, (4, 4))
    close(model(golden["imgs"], plan=plan)["loss"], golden["loss"])
    if "pred" in golden:
        close(model.decoder(model.encoder(golden["imgs"], plan), plan), plan.take_predicted(golden["pred"]))


@pytest.mark.parametrize(("name", "expected"), FILES.items())
def test_nothing_is_lost(data_dir, name, expected):
    """From the published names to ours and back: the same names, and the same numbers but for a computed table."""
    _, state = load(data_dir, name)
    assert recognise(state) == expected
    back = FORMATS[expected].from_ours(to_ours(state))
    assert back.keys() == state.keys()
    for key, value in state.items():
        torch.testing.assert_close(back[key], value, rtol=0, atol=1e-6 if "pos_embed" in key else 0)


@pytest.mark.parametrize("name", FORMATS)
def test_ours_there_and_back(name):
    torch.manual_seed(0)
    ours = VisionTransformer(**SIZES).state_dict()
    ours = {f"encoder.{key}": torch.randn_like(value) for key, value in ours.items()}
    there = FORMATS[name].from_ours(ours)
    assert recognise(there) == {"timm": "mae", "mmdet": "mae"}.get(name, name)  # which have the same names
    back = FORMATS[name].to_ours(there)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[key], ours[key]) for key in ours)
    assert left_out(ours, name) == []


def test_inside_of_a_detector_or_a_segmentor():
    ours = {f"encoder.{key}": value for key, value in VisionTransformer(**SIZES).state_dict().items()}
    for name in ("mmseg", "mmseg_mae", "mmdet"):
        whole = {f"backbone.{key}": value for key, value in FORMATS[name].from_ours(ours).items()}
        whole["decode_head.conv_seg.bias"] = torch.zeros(3)
        assert recognise(whole) == name
        assert to_ours(whole).keys() == {*ours, "decode_head.conv_seg.bias"}


def test_scaled_branches_are_multiplied_in():
    torch.manual_seed(0)
    encoder = VisionTransformer(**SIZES)
    there = FORMATS["mmseg_mae"].from_ours({f"encoder.{key}": v for key, v in encoder.state_dict().items()})
    there["layers.0.gamma_1"] = torch.rand(48)
    there["layers.1.gamma_2"] = torch.rand(48)
    timm_vit = timm.create_model("vit_tiny_patch16_224", **SIZES, num_classes=0, init_values=1.0, dynamic_img_size=True)
    timm_vit.load_state_dict(encoder.state_dict(), strict=False)
    timm_vit.blocks[0].ls1.gamma.data = there["layers.0.gamma_1"]
    timm_vit.blocks[1].ls2.gamma.data = there["layers.1.gamma_2"]
    encoder.load_state_dict({key.removeprefix("encoder."): v for key, v in to_ours(there).items()})
    images = torch.randn(2, 3, 32, 32)
    close(encoder(images), timm_vit.eval().forward_features(images))


def test_timm_takes_the_encoder_strictly(data_dir):
    golden, state = load(data_dir, "mae_norm_pixel")
    ours = to_ours(state)
    there = FORMATS["timm"].from_ours(ours)
    vit = timm.create_model("vit_tiny_patch16_224", **SIZES, num_classes=0).eval()
    vit.load_state_dict(there)
    encoder = VisionTransformer(**SIZES)
    encoder.load_state_dict({key.removeprefix("encoder."): v for key, v in ours.items() if key.startswith("encoder.")})
    close(vit.forward_features(golden["imgs"]), encoder(golden["imgs"]))
    assert all(name.startswith("decoder.") for name in left_out(ours, "timm"))


def test_a_classifier_of_timm(data_dir):
    golden, state = load(data_dir, "vit_finetune_avg")
    vit = timm.create_model("vit_tiny_patch16_224", **SIZES, num_classes=5, global_pool="avg").eval()
    vit.load_state_dict(FORMATS["timm"].from_ours(to_ours(state)))
    close(vit(golden["imgs"]), golden["logits"])
