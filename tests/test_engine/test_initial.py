"""The weights that a model begins with, and the report of what became of each."""

from argparse import Namespace

import pytest
import torch

from maetool.encoders import VisionTransformer, WindowedTransformer
from maetool.errors import UsageError
from maetool.metadata.stored_config import read_section
from maetool.models import ImageClassifier
from maetool.ops.pos_embed import resize_pos_embed
from maetool.parallel.loading import load_weights
from maetool.pretrained.export import encoder_of
from maetool.pretrained.initial import check_classes, load_initial
from maetool.testing import tiny_model
from maetool.weights.formats.mae import to_published
from maetool.weights.read import read_checkpoint, weights_of
from maetool.weights.write import write_checkpoint

CFG = "model = dict(encoder=dict(img_size=(16, 32), patch_size=(8, 4), type='VisionTransformer'))\n"


def classifier(img_size=(16, 32), depth=2, pos_embed="learned", **options):
    torch.manual_seed(1)
    sizes = {"patch_size": (8, 4), "embed_dim": 24, "depth": depth, "num_heads": 3}
    return ImageClassifier(VisionTransformer(img_size=img_size, pos_embed=pos_embed, **sizes, **options), 5)


def saved(tmp_path, state, **meta):
    path = tmp_path / "checkpoint.pth"
    write_checkpoint({"meta": meta, "state_dict": state} if meta else state, path)
    return path


@pytest.fixture
def pretrained():
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return model


def same_encoder(model, other):
    ours, theirs = model.encoder.state_dict(), other.encoder.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_from_pretraining(tmp_path, pretrained):
    model = classifier()
    report = load_initial(model, saved(tmp_path, pretrained.state_dict(), cfg=CFG))
    assert same_encoder(model, pretrained)
    assert report.share == 1.0
    assert sorted(report.missing) == ["head.bias", "head.weight"]
    assert report.unused and all(name.startswith("decoder.") for name in report.unused)
    assert str(report).startswith(f"100.0% of the encoder is filled. Tensors: {len(report.loaded)} loaded; 0 resized; ")
    assert "2 missing, so untrained (head.weight, head.bias)" in str(report)


def test_from_an_exported_encoder(tmp_path, pretrained):
    path = saved(
        tmp_path, pretrained.state_dict(), cfg=CFG.replace("))", "), data_preprocessor=dict(type='ImagePreprocessor'))")
    )
    exported = encoder_of(read_checkpoint(path), str(path))
    assert exported["meta"]["encoder"]["patch_size"] == (8, 4)
    write_checkpoint(exported, path)
    model = classifier()
    assert load_initial(model, path).unused == []
    assert same_encoder(model, pretrained)


@pytest.mark.parametrize("key", ["model", None])
def test_from_published_names(tmp_path, pretrained, key):
    published = to_published(pretrained.state_dict())
    path = tmp_path / "mae.pth"
    # Checkpoints that the published code writes hold its command line too.
    torch.save({key: published, "args": Namespace(lr=1.0), "epoch": 3} if key else published, path)
    model = classifier()
    assert load_initial(model, path).share == 1.0
    assert same_encoder(model, pretrained)


def test_from_another_classifier(tmp_path):
    """What fits is taken, the head of other classes is not."""
    other = classifier()
    model = classifier()
    model.head = torch.nn.Linear(24, 7)
    start = model.head.weight.clone()
    report = load_initial(model, saved(tmp_path, other.state_dict()))
    assert report.other_size == ["head.weight 5x24 instead of 7x24", "head.bias 5 instead of 7"]
    assert torch.equal(model.head.weight, start)
    assert load_initial(other, saved(tmp_path, other.state_dict())).missing == []


def test_the_norm_that_is_not_used_is_named(tmp_path, pretrained):
    torch.manual_seed(0)
    encoder = VisionTransformer(img_size=(16, 32), patch_size=(8, 4), embed_dim=24, depth=2, num_heads=3)
    report = load_initial(ImageClassifier(encoder, 5, own_norm=True), saved(tmp_path, pretrained.state_dict()))
    assert {"encoder.norm.weight", "encoder.norm.bias"} <= set(report.unused)
    assert report.share == 1.0


def test_a_checkpoint_without_a_final_norm(tmp_path):
    """An untrained norm on top of trained blocks would be silent."""
    path = saved(tmp_path, classifier(final_norm=False).state_dict())
    with pytest.raises(UsageError, match=r"2 tensors are missing \(encoder.norm.weight, .* by final_norm=False"):
        load_initial(classifier(), path)
    assert load_initial(classifier(final_norm=False), path).missing == []


@pytest.mark.parametrize("stored", [True, False])
def test_learned_positions_are_resized_from_the_grid_of_the_checkpoint(tmp_path, pretrained, stored):
    model, table = classifier(img_size=(32, 48)), pretrained.encoder.pos_embed
    path = saved(tmp_path, pretrained.state_dict(), **({"cfg": CFG} if stored else {"epoch": 1}))
    report = load_initial(model, path)
    old = (2, 8) if stored else (4, 4)  # a bare file can only be taken for a square
    assert report.resized == [f"encoder.pos_embed from {old[0]}x{old[1]} to 4x12"]
    torch.testing.assert_close(model.encoder.pos_embed, resize_pos_embed(table, old, (4, 12), 1))


def test_fixed_positions_are_resized(tmp_path, pretrained):
    model = classifier(img_size=(32, 48), pos_embed="sincos")
    for state, facts in ((tiny_model().state_dict(), {}), (pretrained.state_dict(), {"cfg": CFG})):
        report = load_initial(model, saved(tmp_path, state, **facts))  # a plain table says its grid itself
        assert report.resized == ["encoder.pos_embed from 2x8 to 4x12"]
        assert torch.equal(model.encoder.pos_embed, resize_pos_embed(state["encoder.pos_embed"], (2, 8), (4, 12), 1))


@pytest.mark.parametrize("size", [(16, 32), (16, 24)])
def test_a_windowed_encoder_begins_with_a_plain_one(tmp_path, size):
    sizes = {"patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3}
    torch.manual_seed(0)
    plain = VisionTransformer(img_size=16, pos_embed="learned", **sizes)
    model = torch.nn.Module()
    model.encoder = WindowedTransformer(img_size=size, window_size=2, global_blocks=[1], final_norm=False, **sizes)
    report = load_initial(model, saved(tmp_path, plain.state_dict()))
    assert report.unused == ["encoder.cls_token", "encoder.norm.weight", "encoder.norm.bias"]
    assert sorted(report.missing) == [f"encoder.blocks.{i}.attn.rel_pos_{axis}" for i in (0, 1) for axis in "hw"]
    assert all(model.get_parameter(name).count_nonzero() == 0 for name in report.missing)
    expected = resize_pos_embed(plain.pos_embed[:, 1:], (2, 2), model.encoder.grid)
    assert torch.equal(model.encoder.pos_embed, expected)
    images = torch.randn(1, 3, 16, 16)  # one window, but the class token is gone
    plain.cls_token = torch.nn.Parameter(plain.cls_token[:, :0])
    plain.pos_embed = torch.nn.Parameter(plain.pos_embed[:, 1:])
    plain.num_prefix_tokens = 0
    plain.norm = torch.nn.Identity()
    model.encoder.pos_embed = torch.nn.Parameter(plain.pos_embed)
    model.encoder.grid = (2, 2)
    assert torch.allclose(model.encoder(images), plain(images), atol=1e-5)


def test_a_rectangle_of_unknown_grid(tmp_path):
    state = classifier(img_size=(16, 24)).state_dict()
    report = load_initial(classifier(), saved(tmp_path, state))  # fixed positions tell it
    assert report.resized == ["encoder.pos_embed from 2x6 to 2x8"]
    state["encoder.pos_embed"] += 0.1
    with pytest.raises(UsageError, match="positions for 12 patches, which is no square"):
        load_initial(classifier(), saved(tmp_path, state))


def test_too_little_is_an_error_and_changes_nothing(tmp_path):
    model = classifier(depth=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = saved(tmp_path, classifier(depth=2).state_dict())
    with pytest.raises(
        UsageError, match=r"fills \d\d.\d% of the encoder, less than init_share=99.0%: 24 tensors are"
    ) as e:
        load_initial(model, path)
    assert "encoder.blocks.2.norm1.weight" in str(e.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    report = load_initial(model, path, min_share=0.5)
    assert 0.5 < report.share < 0.7
    loaded = sum(
        value.numel() for name, value in model.encoder.state_dict().items() if f"encoder.{name}" in report.loaded
    )
    assert report.share == loaded / sum(value.numel() for value in model.encoder.state_dict().values())


def test_a_checkpoint_without_an_encoder(tmp_path, pretrained):
    decoder = {name: value for name, value in pretrained.state_dict().items() if name.startswith("decoder.")}
    with pytest.raises(UsageError, match=r"holds no encoder: none of its \d+ tensors is called encoder.something"):
        load_initial(classifier(), saved(tmp_path, decoder))


def test_an_encoder_of_another_kind(tmp_path):
    other = classifier()
    weights = other.state_dict()
    weights["encoder.patch_embed.proj.weight"] = torch.zeros(24, 1, 8, 4)
    with pytest.raises(
        UsageError, match="24x1x8x4 there and 24x3x8x4 here, trained on images of 1 channels instead of 3"
    ):
        load_initial(classifier(), saved(tmp_path, weights))
    weights["encoder.patch_embed.proj.weight"] = torch.zeros(24, 3, 8, 8)
    with pytest.raises(UsageError, match="trained with patches of 8x8 pixels instead of 8x4"):
        load_initial(classifier(), saved(tmp_path, weights))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none(tmp_path, share):
    with pytest.raises(UsageError, match=f"init_share is {share}"):
        load_initial(classifier(), tmp_path / "any.pth", share)


def test_a_checkpoint_of_other_classes(tmp_path):
    model, other = classifier(), classifier()
    other.head = torch.nn.Linear(24, 7)
    path = saved(tmp_path, other.state_dict())
    with pytest.raises(UsageError, match=r"has 7 classes, but model.num_classes is 5: set .*num_classes=7"):
        load_weights(model, weights_of(read_checkpoint(path), path), path)


def test_data_of_other_classes():
    data = Namespace(classes=["a", "b", "c"])
    with pytest.raises(
        UsageError, match=r"has 3 classes \(a, b, c, ...\), but model.num_classes is 5: add .*num_classes=3"
    ):
        check_classes(classifier(), data)
    check_classes(tiny_model(), data)
    check_classes(classifier(), Namespace(classes=[]))


def test_the_text_of_a_config_is_read_and_never_run(tmp_path):
    text = "import os\nx = 1\n"
    assert read_section({"cfg": text}, "x") is None
    text = "model = dict(a=dict(b=(1, 2), c=[-1.5, None, 'x'], d={'e f': True}))"
    assert read_section({"cfg": text}, "model") == {"a": {"b": (1, 2), "c": [-1.5, None, "x"], "d": {"e f": True}}}
    target = tmp_path / "ran"
    for stranger in (f"model = dict(a=open({str(target)!r}, 'w'))", f"open({str(target)!r}, 'w')", "model = (", ""):
        assert read_section({"cfg": stranger}, "model") is None
    assert not target.exists()


@pytest.mark.parametrize(
    ("there", "warned"),
    [
        ("", False),  # ImageNet's, as here
        ("mean=[100.0, 110, 120], std=[50, 50.5, 60]", True),
        ("mean=[123.6, 116.3, 103.5], std=[58.4, 57.1, 57.4]", False),  # the same but for rounding
        ("mean=[100.0], std=[50]", False),  # other channels, which the shapes tell
    ],
)
def test_images_that_were_normalised_otherwise_are_told(tmp_path, pretrained, there, warned):
    cfg = CFG.rstrip()[:-1] + f", data_preprocessor=dict(type='ImagePreprocessor', {there}))\n"
    path = saved(tmp_path, pretrained.state_dict(), cfg=cfg)
    remark = load_initial(tiny_model(), path).remark
    assert bool(remark) == warned
    if warned:
        assert "model.data_preprocessor.mean=[100,110,120] model.data_preprocessor.std=[50,50.5,60]" in remark
