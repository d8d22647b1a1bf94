"""Encoders of clips, series, groups of channels, ids and several streams: loaded, exported, described, or refused."""

from copy import deepcopy

import numpy as np
import pytest
import torch

import maetool
from maetool.engine.optim.layer_decay import layer_decay_groups
from maetool.errors import UsageError
from maetool.pretrained.card import model_card
from maetool.pretrained.encoder import load_encoder
from maetool.pretrained.export import encoder_of
from maetool.pretrained.extract import build_for
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.graphs import write_onnx
from maetool.pretrained.initial import load_initial
from maetool.pretrained.predict import Trained, predict
from maetool.registry import ENCODERS, MODELS
from maetool.weights.read import read_checkpoint
from maetool.weights.write import write_checkpoint

HEADS = {"Segmentor": {"decode_head": {"type": "LinearHead"}}}
SIZES = {"embed_dim": 32, "depth": 1, "num_heads": 2}
GROUPS = {"type": "GroupStem", "groups": {"b": [0, 3], "a": [1]}, "img_size": 16, "patch_size": 8, "in_chans": 4}
WORDS = {"type": "TokenStem", "codebook": 9, "grid": [6]}
IMAGE = {"type": "PatchStem", "img_size": 16, "patch_size": 8}
CASES = {  # arguments of the encoder, an input, its image_shape, what is refused where pictures are needed
    "clips": (
        {"type": "VisionTransformer", "img_size": [4, 16, 24], "patch_size": [2, 8, 8], "pos_embed": "learned"},
        torch.randn(2, 3, 4, 16, 24),
        (3, 4, 16, 24),
        r"clips or volumes of shape \(3, 4, 16, 24\)",
    ),
    "series": (
        {"type": "VisionTransformer", "img_size": [32], "patch_size": [4], "in_chans": 2},
        torch.randn(2, 2, 32),
        (2, 32),
        r"series of shape \(2, 32\)",
    ),
    "groups": ({"type": "StreamTransformer", "stems": {"bands": GROUPS}}, torch.randn(2, 4, 16, 16), (4, 16, 16), None),
    "ids": ({"type": "StreamTransformer", "stems": {"words": WORDS}}, torch.randint(9, (2, 6)), None, "reads words"),
    "streams": (
        {"type": "StreamTransformer", "stems": {"rgb": IMAGE, "words": WORDS}},
        {"rgb": torch.randn(2, 3, 16, 16), "words": torch.randint(9, (2, 6))},
        None,
        "reads rgb, words and not one tensor",
    ),
}


def mean_of(name):
    shape = CASES[name][2]
    return {"mean": None, "std": None} if name == "ids" else {"mean": [1.0] * (shape or (3,))[0]}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """A name of `CASES`, its encoder, and a checkpoint of it."""
    config = {**CASES[request.param][0], **SIZES}
    torch.manual_seed(0)
    encoder = ENCODERS.build(dict(config)).eval()
    numbers = mean_of(request.param)
    if numbers["mean"]:
        numbers["std"] = [2.0] * len(numbers["mean"])
    if request.param == "streams":
        numbers = {name: {"rgb": value} for name, value in numbers.items()}
    meta = {"encoder": config, "data_preprocessor": {"type": "ImagePreprocessor", **numbers}}
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    write_checkpoint({"meta": meta, "state_dict": state}, tmp_path / "x.pth")
    return request.param, encoder, tmp_path / "x.pth"


def test_it_is_loaded_with_its_shape(case):
    name, encoder, path = case
    loaded, (_, inputs, shape, _) = maetool.load_encoder(path), CASES[name]
    assert loaded.image_shape == shape
    assert torch.equal(loaded(inputs), encoder(inputs))
    normalised = loaded.normalise(inputs)
    assert torch.equal(normalised, inputs) if name == "ids" else not torch.equal(loaded(normalised), loaded(inputs))


def test_pictures_are_taken_or_refused_in_a_sentence(case, tmp_path):
    name, _, path = case
    model, refused = load_frozen(path), CASES[name][3]
    if refused is None:
        np.save(tmp_path / "a.npy", np.zeros((24, 32, 4), np.float32))
        dataset = build_for(model, {"type": "ImageFolderDataset", "root": str(tmp_path)})
        assert dataset[0]["inputs"].shape == (4, 16, 16)
        return
    with pytest.raises(UsageError, match=refused):
        build_for(model, {"type": "ImageFolderDataset", "root": str(tmp_path)})


def test_it_is_exported_and_described(case, tmp_path):
    name, encoder, path = case
    exported = encoder_of(read_checkpoint(path), str(path))
    assert exported["state_dict"].keys() == encoder.state_dict().keys()
    card = model_card(exported, {}, "encoder.safetensors")
    shape, patch = CASES[name][2], {"clips": "2x8x8", "series": "4", "groups": "8x8"}.get(name)
    if shape is None:
        assert "images, patches" not in card
    else:
        size = "x".join(map(str, shape[1:]))
        assert f"| images, patches | {shape[0]} channels, {size} pixels, {patch} pixels |" in card
    assert "In timm, strictly" not in card


@pytest.mark.parametrize("case", ["clips", "groups"], indirect=True)
def test_it_becomes_onnx(case, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    name, _, path = case
    model = load_encoder(path)
    assert write_onnx(model, {}, tmp_path / "x.onnx") < 1e-4
    if name == "clips":
        with pytest.raises(UsageError, match="--dynamic lets the height and width of pictures change"):
            write_onnx(model, {}, tmp_path / "x.onnx", dynamic=True)


@pytest.mark.parametrize("case", ["ids", "streams"], indirect=True)
def test_other_inputs_are_not_written_as_onnx(case, tmp_path):
    with pytest.raises(UsageError, match="not one tensor of images, which this needs"):
        write_onnx(load_encoder(case[2]), {}, tmp_path / "x.onnx")


def test_a_classifier_of_clips_makes_no_predictions_of_image_files(tmp_path):
    encoder = {**CASES["clips"][0], **SIZES}
    model = MODELS.build({"type": "ImageClassifier", "encoder": encoder, "num_classes": 2, "data_preprocessor": None})
    with pytest.raises(UsageError, match="reads clips or volumes"):
        predict(Trained(model.eval(), ["a", "b"], [], None), tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["ImageClassifier", "ImageRegressor"])
def test_a_model_on_it_learns(case, kind):
    name, _, path = case
    (_, inputs, _, _), count = CASES[name], {"ImageClassifier": "num_classes", "ImageRegressor": "num_targets"}[kind]
    section = load_encoder(path).section
    model = MODELS.build({"type": kind, **deepcopy(section.to_dict()), count: 3})
    report = load_initial(model, path)
    assert report.share == 1
    label = torch.tensor([0, 2]) if kind == "ImageClassifier" else torch.rand(2, 3)
    losses = model(**model.data_preprocessor({"inputs": inputs, "label": label}), mode="loss")
    losses["loss"].backward()
    assert losses["loss"].isfinite()
    assert all(p.grad is not None for n, p in model.named_parameters() if p.requires_grad and "mask_token" not in n)
    groups = layer_decay_groups(model, layer_decay=0.5)
    assert {group["layer"] for group in groups} == {0, 1, 2}


@pytest.mark.parametrize("kind", ["Segmentor", "ObjectDetector"])
def test_maps_of_it_are_refused_in_a_sentence(case, kind):
    name, encoder, _ = case
    has = {"clips": "patches of 3 axes", "series": "patches of 1 axes", "groups": "the streams b, a"}
    has |= {"ids": "patches of 1 axes", "streams": "the streams rgb, words"}
    with pytest.raises(UsageError, match=f"has {has[name]}, but maps are of one grid of height and width"):
        MODELS.build({"type": kind, "encoder": encoder, "num_classes": 2, **HEADS.get(kind, {})})


def test_a_recorded_grid_of_clips_resizes_their_positions(case, tmp_path):
    name, _, path = case
    if name != "clips":
        pytest.skip("has one size")
    other = load_encoder(path, img_size=(4, 24, 16))
    assert other.encoder.grid == (2, 3, 2) and other.encoder.pos_embed.shape == (1, 13, 32)


@pytest.mark.parametrize(
    ("options", "alike"),
    [
        ({}, True),
        ({"pos_embed": "learned", "drop_path_rate": 0.1}, True),
        ({"sees": "all"}, False),  # whose weights have a mask token
        ({"num_registers": 2}, False),
        ({"class_token": False}, False),
        ({"qk_norm": True}, False),
        ({"pos_embed": "rotary"}, False),
    ],
)
def test_the_card_names_timm_where_its_class_is_the_same(options, alike):
    config = {"type": "VisionTransformer", "img_size": (16, 32), "patch_size": (8, 4), **SIZES, **options}
    exported = {"meta": {"encoder": config, "images": dict.fromkeys(("mean", "in_chans", "img_size", "patch_size"))}}
    exported["meta"]["source"] = "x.pth"
    exported["state_dict"] = ENCODERS.build(dict(config)).state_dict()
    assert ("In timm, strictly" in model_card(exported, {}, "x.pth")) == alike


@pytest.mark.parametrize(
    ("dataset", "drawn"), [("MovingShapesDataset", True), ("ShapesSegmentation", True), ("ImageFolderDataset", False)]
)
def test_the_card_says_that_data_was_drawn(dataset, drawn):
    meta = {"encoder": {"type": "VisionTransformer", **SIZES}, "source": "x.pth"}
    meta["images"] = dict.fromkeys(("mean", "in_chans", "img_size", "patch_size"))
    run = {"cfg": f"train_dataloader = dict(dataset=dict(type='{dataset}'))"}
    card = model_card({"meta": meta, "state_dict": {}}, run, "x.pth")
    assert ("trained on drawn pictures only" in card) == drawn


@pytest.mark.parametrize(("part", "seen"), [("root='d'", True), ("root='d', part='val'", True), ("root='e'", False)])
def test_the_card_says_that_validation_saw_the_training_images(tmp_path, part, seen):
    meta = {"encoder": {"type": "VisionTransformer", **SIZES}, "source": str(tmp_path / "x.pth")}
    meta["images"] = dict.fromkeys(("mean", "in_chans", "img_size", "patch_size"))
    (tmp_path / "start" / "vis_data").mkdir(parents=True)
    (tmp_path / "start" / "vis_data" / "scalars.json").write_text('{"step": 1, "val/loss": 0.5}\n')
    loaders = [
        f"{name}_dataloader = dict(dataset=dict({place}))\n" for name, place in (("train", "root='d'"), ("val", part))
    ]
    card = model_card({"meta": meta, "state_dict": {}}, {"cfg": "".join(loaders), "iter": 1}, "x.pth")
    assert "on its validation images" in card and ("was also trained on" in card) == seen
