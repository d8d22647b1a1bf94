"""Another size of image gives the same tokens every way: by the encoder itself, loaded, initialised, exported."""

import json

import pytest
import timm
import torch
from mmengine import Config
from safetensors.torch import save_file

import maetool
from maetool.encoders import TimmEncoder, VisionTransformer
from maetool.errors import UsageError
from maetool.models import ImageClassifier
from maetool.ops.pos_embed import positions_on, resize_pos_embed, sincos_pos_embed
from maetool.parallel.loading import load_weights
from maetool.pretrained.export import encoder_of, write_weights
from maetool.pretrained.initial import load_initial
from maetool.registry import MODELS
from maetool.weights.formats.table import FORMATS
from maetool.weights.read import read_checkpoint, weights_of
from maetool.weights.write import write_checkpoint

ENCODERS = {
    "fixed": {"type": "VisionTransformer"},
    "learned": {"type": "VisionTransformer", "pos_embed": "learned"},
    "windows": {"type": "WindowedTransformer", "window_size": 3, "global_blocks": [1]},
    "hybrid": {"type": "HybridTransformer", "conv_dims": (8, 16)},
}
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 4}
TRANSFORMER = {"type": "TransformerDecoder", **SMALL}
DECODERS = {
    "transformer": ({}, TRANSFORMER),
    "learned": ({}, {**TRANSFORMER, "pos_embed": "learned"}),
    "scaled": ({}, {**TRANSFORMER, "type": "ScaledDecoder"}),
    "cross": ({"final_norm": False}, {"type": "CrossAttentionDecoder", **SMALL}),
    "fused": ({}, {"type": "LayerFusionDecoder", "layers": [1, 2], "decoder": TRANSFORMER}),
}
SHAKEN = torch.Generator().manual_seed(0)


def config(size, encoder, decoder=TRANSFORMER):
    return {
        "type": "MaskedImageModel",
        "masker": {"type": "RandomMasker"},
        "encoder": {"img_size": size, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, **encoder},
        "decoder": decoder,
        "target": {"type": "PixelTarget"},
        "head": {"type": "RegressionHead"},
        "data_preprocessor": {"type": "ImagePreprocessor"},
    }


def build(settings, seed=0):
    torch.manual_seed(seed)
    return MODELS.build(Config({"model": settings}).model).eval()


def pretrained(tmp_path, settings, without=()):
    """A model whose parameters are not at their start, and its checkpoint, perhaps without some tensors."""
    model = build(settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=SHAKEN))
    state = {name: value for name, value in model.state_dict().items() if name not in without}
    path = tmp_path / "pretrained.pth"
    write_checkpoint({"meta": {"cfg": Config({"model": settings}).pretty_text}, "state_dict": state}, path)
    return model, path


def equal(loaded, expected):
    torch.testing.assert_close(loaded, expected, rtol=0, atol=1e-6)


# The grid 4x4 becomes larger, wider and smaller; 2x6 becomes 6x2, whose table has the same number of rows.
@pytest.mark.parametrize(("old", "new"), [(32, (48, 48)), (32, (48, 80)), ((48, 24), (24, 16)), ((16, 48), (48, 16))])
@pytest.mark.parametrize("kind", ENCODERS)
def test_the_same_tokens_every_way(tmp_path, kind, old, new):
    decoder = {"type": "LinearDecoder"} if kind == "windows" else TRANSFORMER
    model, path = pretrained(tmp_path, config(old, ENCODERS[kind], decoder))
    images, encoder = torch.randn(2, 3, *new), model.encoder
    with torch.no_grad():
        expected = encoder(images)
    loaded = maetool.load_encoder(path, img_size=new)
    assert loaded.encoder.img_size == new
    equal(loaded(images), expected)
    begun = build(config(new, ENCODERS[kind], decoder), seed=1)
    report = load_initial(begun, path)
    grids = "x".join(map(str, encoder.grid)), "x".join(map(str, begun.encoder.grid))
    assert f"encoder.pos_embed from {grids[0]} to {grids[1]}" in report.resized
    prefix = encoder.num_prefix_tokens
    equal(begun.encoder.pos_embed, positions_on(encoder.pos_embed, encoder.grid, begun.encoder.grid, prefix))
    equal(begun.encoder(images), expected)
    write_checkpoint({"state_dict": begun.state_dict()}, tmp_path / "begun.pth")
    again = build(config(new, ENCODERS[kind], decoder), seed=2)
    load_weights(again, weights_of(read_checkpoint(tmp_path / "begun.pth"), "begun"), "begun")
    equal(again.encoder(images), expected)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("size", [(48, 48), (48, 80)])
def test_exported_at_another_size_and_read_again(tmp_path, size, ending):
    settings = config(32, ENCODERS["fixed"])
    model, path = pretrained(tmp_path, settings)
    images = torch.randn(2, 3, *size)
    expected = model.encoder(images)
    larger = maetool.load_encoder(path, img_size=size)
    meta = {"cfg": Config({"model": {**settings, "encoder": larger.section.encoder.to_dict()}}).pretty_text}
    state = {f"encoder.{name}": value for name, value in larger.encoder.state_dict().items()}
    write_weights(encoder_of({"state_dict": state, "meta": meta}, "larger"), tmp_path / f"e{ending}")
    equal(maetool.load_encoder(tmp_path / f"e{ending}")(images), expected)
    bare = tmp_path / "bare.pth"  # which says nothing but its weights
    torch.save(larger.encoder.state_dict(), bare)
    equal(maetool.load_encoder(bare, num_heads=3, img_size=size)(images), expected)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_the_tool_exports_at_another_size(tmp_path, ending, monkeypatch):
    from maetool.commands import export_encoder

    model, path = pretrained(tmp_path, config(32, ENCODERS["fixed"]))
    out = tmp_path / f"e{ending}"
    for words, size in ((["48"], (48, 48)), (["48", "80"], (48, 80))):
        arguments = ["export_encoder", str(path), "--out", str(out), "--img-size", *words]
        monkeypatch.setattr("sys.argv", arguments)
        export_encoder.main()
        loaded, images = maetool.load_encoder(out), torch.randn(2, 3, *size)
        assert loaded.image_shape == (3, *size)
        equal(loaded(images), model.encoder(images))


@pytest.mark.parametrize("kept", [True, False], ids=["", "written before tables were stored"])
@pytest.mark.parametrize("kind", DECODERS)
def test_pretraining_goes_on_at_another_size(tmp_path, kind, kept):
    """The loss is that which the trained model has on images of that size."""
    encoder, decoder = DECODERS[kind]
    settings = config(32, {**ENCODERS["fixed"], **encoder}, decoder)
    without = () if kept or kind == "learned" else ("decoder.pos_embed", "decoder.decoder.pos_embed")
    model, path = pretrained(tmp_path, settings, without)
    larger = build(config((48, 80), {**ENCODERS["fixed"], **encoder}, decoder), seed=1)
    report = load_initial(larger, path)
    assert len(report.resized) == 2
    assert not report.missing
    images = torch.randn(2, 3, 48, 80)
    plan = model.make_plan(images)
    expected = model(images, plan=plan)["loss"]
    equal(larger(images, plan=plan)["loss"], expected)
    same = build(settings, seed=1)
    load_weights(same, weights_of(read_checkpoint(path), path), path)
    equal(same(images, plan=plan)["loss"], expected)
    same.load_state_dict(weights_of(read_checkpoint(path), path))  # torch's own way


def test_a_hybrid_written_before_tables_were_stored(tmp_path):
    model, path = pretrained(tmp_path, config(32, ENCODERS["hybrid"]), ["encoder.pos_embed"])
    images = torch.randn(2, 3, 48, 48)
    equal(maetool.load_encoder(path, img_size=48)(images), model.encoder(images))
    equal(maetool.load_encoder(path)(images), model.encoder(images))


def test_a_fixed_table_of_others_is_kept(tmp_path):
    """mmpretrain's encodes the row first."""
    model, _ = pretrained(tmp_path, config(32, ENCODERS["fixed"]))
    table = model.encoder.pos_embed.data
    table.copy_(torch.cat([table[..., 24:], table[..., :24]], dim=2))
    state = FORMATS["mmpretrain"].from_ours(model.state_dict())
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    for size in ((32, 32), (48, 80)):
        images = torch.randn(2, 3, *size)
        loaded = maetool.load_encoder(tmp_path / "other.pth", num_heads=3, img_size=size)
        equal(loaded(images), model.encoder(images))


def test_a_classifier_reloaded_after_fine_tuning_at_another_size(tmp_path):
    model, path = pretrained(tmp_path, config(32, ENCODERS["fixed"]))
    sizes = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
    tuned = ImageClassifier(VisionTransformer(48, **sizes), 3).eval()
    load_initial(tuned, path)
    images = torch.randn(2, 3, 48, 48)
    write_checkpoint({"model": FORMATS["mae"].from_ours(tuned.state_dict())}, tmp_path / "tuned.pth")
    loaded = maetool.load_encoder(tmp_path / "tuned.pth", num_heads=3)
    equal(loaded(images), model.encoder(images))


def test_other_patches_at_load(tmp_path):
    model, path = pretrained(tmp_path, config(32, ENCODERS["fixed"]))
    loaded = maetool.load_encoder(path, patch_size=4, img_size=(24, 40)).encoder
    assert loaded.grid == (6, 10)
    equal(loaded.pos_embed, resize_pos_embed(model.encoder.pos_embed, (4, 4), (6, 10), 1))


def test_a_checkpoint_of_a_strangers_encoder_runs_no_code(tmp_path, monkeypatch):
    """Sizes are read where they are written; the class, which could be anything, is not imported for its defaults."""
    (tmp_path / "stranger.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model, path = pretrained(tmp_path, config(32, ENCODERS["fixed"]))
    begun = build(config(48, ENCODERS["fixed"]))
    for kind in ("stranger.Encoder", "NoSuchEncoder"):
        meta = {"cfg": f"model = dict(encoder=dict(type='{kind}', patch_size=8))\n"}
        write_checkpoint({"meta": meta, "state_dict": model.state_dict()}, path)
        assert "encoder.pos_embed from 4x4 to 6x6" in load_initial(begun, path).resized


def learned(img_size=(96, 160)):
    torch.manual_seed(0)
    encoder = VisionTransformer(img_size, 16, embed_dim=48, depth=1, num_heads=3, pos_embed="learned").eval()
    encoder.pos_embed.data.normal_()
    return encoder


def test_the_grid_of_a_rectangle_is_asked_for(tmp_path):
    encoder, images = learned(), torch.randn(1, 3, 96, 160)
    path = tmp_path / "bare.pth"
    torch.save(encoder.state_dict(), path)
    equal(maetool.load_encoder(path, num_heads=3, img_size=(96, 160))(images), encoder(images))
    small = maetool.load_encoder(path, num_heads=3, img_size=(48, 80), patch_size=8).encoder
    equal(small.pos_embed, encoder.pos_embed)
    for size in (None, (96, 96)):
        with pytest.raises(UsageError, match="learned positions for 60 patches, which is no square"):
            maetool.load_encoder(path, num_heads=3, img_size=size)


def test_the_grid_of_a_rectangle_is_beside_the_file(tmp_path):
    encoder, images = learned(), torch.randn(1, 3, 48, 80)
    save_file(FORMATS["transformers"].from_ours(named(encoder)), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3, "image_size": [96, 160]}))
    assert maetool.load_encoder(tmp_path).image_shape == (3, 96, 160)
    equal(maetool.load_encoder(tmp_path, img_size=(48, 80))(images), encoder(images))
    begun = ImageClassifier(VisionTransformer((48, 80), 16, embed_dim=48, depth=1, num_heads=3), 2).eval()
    assert load_initial(begun, tmp_path).resized == ["encoder.pos_embed from 6x10 to 3x5"]
    equal(begun.encoder(images), encoder(images))


def named(encoder):
    return {f"encoder.{name}": value for name, value in encoder.state_dict().items()}


def test_a_grid_that_is_only_likely_is_named(tmp_path):
    encoder = learned((32, 128))  # 2x8 patches, which could be 4x4
    torch.save(named(encoder), tmp_path / "bare.pth")
    begun = ImageClassifier(VisionTransformer((32, 128), 16, embed_dim=48, depth=1, num_heads=3), 2)
    report = load_initial(begun, tmp_path / "bare.pth")
    equal(begun.encoder.pos_embed, encoder.pos_embed)
    assert "1 assumed to be for the same grid, which the file does not record (encoder.pos_embed of 2x8)" in str(report)
    assert "encoder.pos_embed" not in report.loaded


@pytest.mark.parametrize("no_embed_class", [True, False])
def test_positions_of_timm_with_and_without_rows_of_a_prefix(tmp_path, no_embed_class):
    options = {"no_embed_class": no_embed_class, "reg_tokens": 4}
    sizes = {"embed_dim": 48, "depth": 1, "num_heads": 3}
    vit = timm.create_model("vit_tiny_patch16_224", img_size=96, num_classes=0, **sizes, **options)
    vit.pos_embed.data.normal_()
    torch.save(vit.state_dict(), tmp_path / "timm.pth")
    model = ImageClassifier(TimmEncoder("vit_tiny_patch16_224", img_size=(64, 80), **sizes, options=options), 2)
    report = load_initial(model, tmp_path / "timm.pth")
    assert report.resized == ["encoder.pos_embed from 6x6 to 4x5"]
    expected = resize_pos_embed(vit.pos_embed, (6, 6), (4, 5), 0 if no_embed_class else 5)
    equal(model.encoder.vit.pos_embed.data, expected.data)


def scenes(size, number, seed):
    """Images with a bright square in one of the four corners, its class, among noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (number,), generator=generator)
    images = 0.3 * torch.randn(number, 3, 32, 32, generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = (16 * part + int(torch.randint(0, 9, (), generator=generator)) for part in divmod(label, 2))
        image[:, top : top + 8, left : left + 8] += 2
    return torch.nn.functional.interpolate(images, size, mode="bilinear"), labels


def test_a_trained_encoder_knows_places_at_other_sizes():
    torch.manual_seed(0)
    encoder = VisionTransformer(32, 4, embed_dim=48, depth=1, num_heads=3)
    head = torch.nn.Linear(48, 4)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    images, labels = scenes((32, 32), 512, seed=1)
    for step in range(80):
        part = slice(32 * (step % 16), 32 * (step % 16 + 1))
        loss = torch.nn.functional.cross_entropy(head(encoder(images[part])[:, 0]), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def accuracy(*size):
        images, labels = scenes(size, 200, seed=2)
        with torch.no_grad():
            return (head(encoder(images)[:, 0]).argmax(1) == labels).float().mean().item()

    assert accuracy(32, 32) > 0.95
    assert min(accuracy(48, 48), accuracy(48, 80), accuracy(64, 64)) > 0.9  # 0.25 is a guess


def test_the_plain_table_is_no_longer_taken_for_another_grid(tmp_path):
    _, path = pretrained(tmp_path, config(32, ENCODERS["fixed"]))
    loaded = maetool.load_encoder(path, img_size=48).encoder.pos_embed
    assert not torch.allclose(loaded, sincos_pos_embed(48, (6, 6), 1), atol=0.5)
