"""The segmentor: any size, what its losses and views are, and published encoders in the full-size configs."""

import math

import pytest
import timm
import torch
from torch.nn import functional

from maetool.config.checks import check_config
from maetool.config.load import complete_config, load_config
from maetool.encoders import VisionTransformer
from maetool.engine.optim.layer_decay import layer_decay_groups
from maetool.errors import UsageError
from maetool.heads.segmentation import FCNHead, LinearMapHead, UPerHead
from maetool.models import Segmentor
from maetool.models.views import look, slide, starts_of, stripes
from maetool.pretrained.initial import load_initial
from maetool.registry import ENCODERS, MODELS
from maetool.weights.write import write_checkpoint

ENCODER = {"type": "VisionTransformer", "img_size": (32, 48), "patch_size": 8, "embed_dim": 16, "depth": 4}
ENCODER |= {"num_heads": 2, "final_norm": False}
UPERNET = {
    "pyramid": {"type": "LayerPyramid"},
    "decode_head": {"type": "UPerHead", "width": 8},
    "auxiliary_head": {"type": "FCNHead", "width": 8},
}
PROBE = {"encoder": {**ENCODER, "final_norm": True}, "decode_head": {"type": "LinearMapHead"}, "frozen": True}
WINDOWED = {**ENCODER, "type": "WindowedTransformer", "window_size": 2, "global_blocks": [1, 3]}


def segmentor(**options):
    torch.manual_seed(0)
    return Segmentor(**{"encoder": dict(ENCODER), "num_classes": 5, **UPERNET, **options})


def batch(size=(32, 48), classes=5):
    generator = torch.Generator().manual_seed(1)
    semantic = torch.randint(0, classes, (2, *size), generator=generator)
    semantic[:, :3] = 255
    return torch.randn(2, 3, *size, generator=generator), {"semantic": semantic}


MODELS_OF_EACH_KIND = [
    pytest.param({}, id="upernet"),
    pytest.param({"encoder": WINDOWED}, id="windowed"),
    pytest.param({"pyramid": {"type": "SimpleFeaturePyramid", "out_channels": 8}, "encoder": WINDOWED}, id="simple"),
    pytest.param(
        {"pyramid": None, "decode_head": {"type": "FCNHead", "level": 0, "width": 8}, "auxiliary_head": None}, id="fcn"
    ),
    pytest.param({**PROBE, "pyramid": None, "auxiliary_head": None}, id="probe"),
]


@pytest.mark.parametrize("options", MODELS_OF_EACH_KIND)
@pytest.mark.parametrize("size", [(32, 48), (48, 16), (27, 45)])
def test_every_head_takes_images_of_any_shape(options, size):
    model = segmentor(**options)
    images, samples = batch(size)
    losses = model(images, samples)
    losses["loss"].backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    assert model.eval()(images, mode="predict").shape == (2, 5, *size)


def test_losses_are_those_of_the_pixels_that_count():
    model = segmentor().eval()
    images, samples = batch()
    losses, target = model(images, samples), samples["semantic"]
    maps = model(images, mode="tensor")
    logits, more = (
        functional.interpolate(head(maps), (32, 48), mode="bilinear")
        for head in (model.decode_head, model.auxiliary_head)
    )
    extra = 0.4 * functional.cross_entropy(more, target, ignore_index=255)
    expected = functional.cross_entropy(logits, target, ignore_index=255) + extra
    assert torch.allclose(losses["loss"], expected)
    assert torch.allclose(losses["auxiliary"], extra)
    right = (logits.argmax(dim=1) == target)[:, 3:]
    assert losses["accuracy"].item() == pytest.approx(right.float().mean().item() * 100)
    assert losses["constant_predictor"].item() == pytest.approx(1.4 * math.log(5))


def test_pixels_count_in_the_loss_as_their_class_is_weighed():
    weights, (images, samples) = [0.2, 1.0, 3.0, 1.0, 0.5], batch()
    model, plain = segmentor(class_weight=weights).eval(), segmentor().eval()
    losses, maps = model(images, samples), plain(images, mode="tensor")
    extra = functional.interpolate(plain.auxiliary_head(maps), (32, 48), mode="bilinear")
    target = samples["semantic"]
    expected = 0.4 * functional.cross_entropy(extra, target, torch.tensor(weights), ignore_index=255)  # a weighted mean
    assert torch.allclose(losses["auxiliary"], expected)
    assert not torch.allclose(losses["auxiliary"], plain(images, samples)["auxiliary"])
    assert "class_weight" not in model.state_dict()


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 0.0, 1.0, 1.0]])
def test_weights_of_classes_are_one_for_each(weights):
    with pytest.raises(UsageError, match=r"class_weight is .* but must be 5 numbers above 0"):
        segmentor(class_weight=weights)


@pytest.mark.parametrize("weights", [None, [0.1] * 5])
def test_a_batch_where_nothing_counts_has_no_loss(weights):
    images, samples = batch()
    model = segmentor(class_weight=weights)
    losses = model(images, {"semantic": torch.full_like(samples["semantic"], 255)})
    assert losses["loss"].item() == 0
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in model.parameters())


def test_a_probe_leaves_the_encoder_as_it_is():
    model = segmentor(**PROBE, pyramid=None, auxiliary_head=None)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0)
    images, samples = batch()
    for _ in range(2):
        model.train()(images, samples)["loss"].backward()
        optimizer.step()
    assert not model.encoder.training
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    assert model.decode_head.classify.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("length", "window", "stride", "starts"),
    [(683, 512, 341, [0, 171]), (512, 512, 341, [0]), (300, 512, 341, [0]), (1024, 512, 341, [0, 341, 512])],
)
def test_where_windows_begin(length, window, stride, starts):
    assert starts_of(length, window, stride) == starts


def test_windows_are_averaged_where_they_overlap():
    images = torch.arange(2 * 3 * 7 * 11.0).view(2, 3, 7, 11)
    assert torch.allclose(slide(lambda x: x * 2, images, (4, 5), (3, 4)), images * 2)
    marks = iter([1.0, 2.0, 4.0])
    found = slide(lambda x: torch.full_like(x[:, :1], next(marks)), images, (7, 5), (7, 3))  # at columns 0, 3 and 6
    assert found[0, 0, 0].tolist() == [1, 1, 1, 1.5, 1.5, 2, 3, 3, 4, 4, 4]


def test_an_encoder_of_one_size_sees_small_images_filled_up():
    encoder = {**ENCODER, "type": "TimmEncoder", "name": "vit_base_patch16_224", "img_size": 32, "final_norm": True}
    model = segmentor(encoder=encoder, pyramid=None, auxiliary_head=None, decode_head={"type": "LinearMapHead"}).eval()
    for size in ((20, 50), (10, 10), (27, 32)):
        images = torch.randn(1, 3, *size)
        filled = functional.pad(images, (0, max(0, 32 - size[1]), 0, 32 - size[0]))
        expected = model(filled, mode="predict")[..., : size[0], : size[1]]
        assert torch.equal(model(images, mode="predict"), expected)


def test_sliding_over_an_image_of_one_window_is_the_whole_image():
    images, _ = batch()
    whole, windows = segmentor(inference="whole").eval(), segmentor(inference="slide").eval()
    assert torch.allclose(whole(images, mode="predict"), windows(images, mode="predict"), atol=1e-6)
    larger = torch.randn(1, 3, 50, 70)
    assert not torch.allclose(whole(larger, mode="predict"), windows(larger, mode="predict"), atol=1e-3)


def test_views_are_averaged_as_probabilities():
    images, _ = batch()
    model = segmentor(inference="whole", scales=(0.5, 1.0), flip=True).eval()
    single = segmentor(inference="whole").eval()
    views = [functional.interpolate(images, (16, 24), mode="bilinear"), images]
    found = []
    for view in views:
        for mirrored in (False, True):
            logits = single(view.flip(-1) if mirrored else view, mode="predict")
            logits = logits.flip(-1) if mirrored else logits
            found.append(functional.interpolate(logits, (32, 48), mode="bilinear").softmax(dim=1))
    assert torch.allclose(model(images, mode="predict").exp(), sum(found) / 4, atol=1e-5)


def test_a_flipped_view_alone_changes_nothing_of_a_mirrored_function():
    images = torch.randn(1, 4, 6, 8)
    assert torch.allclose(look(lambda x: x, images, [1.0], True).exp(), images.softmax(dim=1), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_classes": 1}, "num_classes is 1"),
        ({"inference": "tiles"}, "inference is 'tiles'"),
        ({"scales": []}, "scales is"),
        ({"auxiliary_head": {"type": "FCNHead", "level": 4}}, "level is 4, but the head is given 4"),
        ({"pyramid": {"type": "LayerPyramid", "layers": [1, 2, 3, 5]}}, "an encoder of 4 blocks"),
    ],
)
def test_what_cannot_be_is_named(options, said):
    with pytest.raises(UsageError, match=said):
        segmentor(**options)


def test_classes_of_other_images_are_named():
    images, _ = batch()
    with pytest.raises(UsageError, match=r"the shape none, but \(2, 32, 48\) is expected"):
        segmentor()(images, {})
    with pytest.raises(UsageError, match=r"the shape \(2, 16, 48\)"):
        segmentor()(images, {"semantic": torch.zeros(2, 16, 48, dtype=torch.int64)})


@pytest.mark.parametrize("head", [UPerHead, FCNHead, LinearMapHead])
def test_logits_have_the_size_of_the_finest_map_that_is_read(head):
    maps = [torch.randn(2, 6, 12 // step, 20 // step) for step in (1, 2, 4)]
    logits = head([6, 6, 6], 5)(maps)
    assert logits.shape[2:] == (maps[0] if head is UPerHead else maps[2]).shape[2:]


@pytest.mark.parametrize("name", ["upernet_vit-b_ade20k_160k"])
def test_a_published_encoder_fills_a_full_size_config(repository, tmp_path, name):
    cfg = load_config(repository / f"configs/segmentation/{name}.py")
    check_config(cfg)
    complete_config(cfg)
    probe = bool(cfg.model.get("frozen"))
    source = ENCODERS.build({**cfg.model.encoder, "img_size": 224, "final_norm": True, "layer_scale": None})
    write_checkpoint({"model": source.state_dict()}, tmp_path / "published.pth")
    model = MODELS.build(cfg.model)
    report = load_initial(model, tmp_path / "published.pth")
    missing = [name for name in report.missing if name.startswith("encoder.")]
    assert all(name.endswith((".ls1.gamma", ".ls2.gamma")) for name in missing)
    assert len(missing) == (0 if probe else 24)
    assert report.share > 0.9997
    assert report.resized == ["encoder.pos_embed from 14x14 to 32x32"]
    assert report.unused == ([] if probe else ["encoder.norm.weight", "encoder.norm.bias"])
    images, samples = batch((64, 48), 150)
    model(images, samples)["loss"].backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    if not probe:
        groups = layer_decay_groups(model, 0.65)
        assert sum(len(group["params"]) for group in groups) == len(trained)
        assert groups[0]["lr_scale"] == pytest.approx(0.65**13)


def test_layer_scale_is_timms_and_begins_without_effect():
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}
    torch.manual_seed(0)
    scaled = VisionTransformer(**sizes, layer_scale=1.0).eval()
    plain = VisionTransformer(**sizes).eval()
    plain.load_state_dict({name: value for name, value in scaled.state_dict().items() if ".ls" not in name})
    images = torch.randn(1, 3, 16, 16)
    assert torch.equal(scaled(images), plain(images))
    for name, value in scaled.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(value)
    other = timm.models.VisionTransformer(**sizes, init_values=0.5, num_classes=0, global_pool="").eval()
    other.load_state_dict(scaled.state_dict())
    assert torch.allclose(scaled(images), other.forward_features(images), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (40, 24), (33, 50), (9, 70)])
@pytest.mark.parametrize("stride", [(4, 4), (11, 7), (16, 16)])
def test_stripes_are_the_windows_and_keep_one_row_of_them(size, stride):
    """At each pixel the mean over all windows that cover it, as in a loop over a canvas of the image's size."""
    images, window = torch.rand(2, 3, *size), (16, 16)
    height, width = (min(pair) for pair in zip(window, size, strict=True))
    total, count = torch.zeros(2, 3, *size), torch.zeros(*size)
    for top in starts_of(size[0], height, stride[0]):
        for left in starts_of(size[1], width, stride[1]):
            part = (..., slice(top, top + height), slice(left, left + width))
            total[part] += images[part].cumsum(dim=-1)
            count[part] += 1
    found = [stripe.clone() for _, stripe in stripes(lambda part: part.cumsum(dim=-1), images, window, stride)]
    assert torch.equal(torch.cat(found, dim=2), total / count)
    assert all(stripe.shape[2] <= 16 for stripe in found)
    assert torch.equal(slide(lambda part: part.cumsum(dim=-1), images, window, stride), total / count)


@pytest.mark.parametrize("options", [{}, {"inference": "whole"}, {"flip": True}, {"scales": [1.0, 1.5]}])
def test_classes_are_those_of_the_logits(options):
    model, images = segmentor(**options).eval(), torch.rand(2, 3, 24, 30)
    with torch.no_grad():
        assert torch.equal(model.predict_classes(images), model(images, mode="predict").argmax(dim=1))


def test_several_views_can_be_learned_through():
    model = segmentor(flip=True, scales=[1.0, 0.5]).eval()
    model(torch.rand(1, 3, 24, 30), mode="predict").sum().backward()
    assert all(parameter.grad is not None for parameter in model.decode_head.parameters())


def test_much_memory_is_told_before(caplog):
    from maetool.models.segmentor import _tell_bytes

    _tell_bytes(2, 150, (100, 100))
    assert not caplog.text
    _tell_bytes(2, 150, (4000, 3000))
    assert "The logits of 2 images of 4,000 x 3,000 pixels and 150 classes need 14.4 GB" in caplog.text
