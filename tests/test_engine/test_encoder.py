"""An encoder in one line, from every format; converted and exported; and what is told where that is impossible."""

import json
import runpy
import sys

import pytest
import torch
from mmengine import Config
from safetensors.torch import save_file
from timm.layers import resample_patch_embed

import maetool
from maetool.data import ImagePreprocessor
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.models import ImageClassifier
from maetool.ops.kernel import adapt_channels, resize_kernel
from maetool.pretrained.convert import convert, write_conversion
from maetool.pretrained.export import check_out, encoder_of, write_weights
from maetool.pretrained.frozen import FrozenEncoder, build_frozen
from maetool.pretrained.graphs import check_onnx, write_onnx
from maetool.pretrained.initial import load_initial
from maetool.testing import tiny_config, tiny_model
from maetool.weights.formats.table import FORMATS, to_ours
from maetool.weights.read import read_checkpoint
from maetool.weights.write import write_checkpoint

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


@pytest.fixture
def encoder():
    torch.manual_seed(2)
    return VisionTransformer(**SIZES).requires_grad_(False).eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def ours(encoder):
    return {f"encoder.{name}": value for name, value in encoder.state_dict().items()}


def saved(tmp_path, state, name="x.pth"):
    torch.save(state, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("name", FORMATS)
def test_of_every_format(tmp_path, encoder, images, name):
    state = FORMATS[name].from_ours(ours(encoder))
    key = FORMATS[name].key
    path = saved(tmp_path, {key: state} if key else state)
    found = maetool.load_encoder(path, num_heads=3)
    assert torch.equal(found(images), encoder(images))
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())


def test_of_hugging_face_as_it_lies_on_the_hub(tmp_path, encoder, images):
    save_file(FORMATS["transformers"].from_ours(ours(encoder)), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    found = maetool.load_encoder(tmp_path)
    assert torch.equal(found(images), encoder(images))
    raw = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    torch.testing.assert_close(found.normalise(raw), torch.full((1, 3, 32, 32), 2.0))


def folder_of(tmp_path, encoder, config, images=None):
    save_file(FORMATS["transformers"].from_ours(ours(encoder)), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3, **config}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(images or {}))
    return tmp_path


def test_statistics_of_timms_folder(tmp_path, encoder):
    weights = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3}
    timms = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": weights}
    loaded = maetool.load_encoder(folder_of(tmp_path, encoder, timms | {"model_args": {"num_heads": 3}}))
    raw = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    torch.testing.assert_close(loaded.normalise(raw), torch.full((1, 3, 32, 32), 2.0))


@pytest.mark.parametrize(
    ("images", "white"),
    [
        ({"do_normalize": False}, 1.0),
        ({"do_rescale": False, "image_mean": [5.0] * 3, "image_std": [125.0] * 3}, 2.0),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}, 1.0),
    ],
)
def test_images_are_scaled_as_the_folder_says(tmp_path, encoder, images, white):
    raw = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    normalised = maetool.load_encoder(folder_of(tmp_path, encoder, {}, images)).normalise(raw)
    torch.testing.assert_close(normalised, torch.full((1, 3, 32, 32), white))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"hidden_act": "relu"}, "the activation 'relu' instead of 'gelu'"),
        ({"hidden_act": "quick_gelu"}, "the activation 'quick_gelu'"),
        ({"layer_norm_eps": 1e-2}, "an epsilon of 0.01 instead of 1e-6"),
    ],
)
def test_functions_that_weights_do_not_show_are_refused(tmp_path, encoder, config, reason):
    with pytest.raises(UsageError, match=reason):
        maetool.load_encoder(folder_of(tmp_path, encoder, config))


def test_usual_functions_of_a_folder_are_taken(tmp_path, encoder, images):
    loaded = maetool.load_encoder(folder_of(tmp_path, encoder, {"hidden_act": "gelu", "layer_norm_eps": 1e-12}))
    assert torch.equal(loaded(images), encoder(images))


def test_of_a_config(repository):
    model = tiny_config()
    found = maetool.load_encoder(Config({"model": model}))
    assert found.image_shape == (3, 16, 32)
    other = maetool.load_encoder({"model": model}, img_size=(32, 64))
    assert other.encoder.grid == (4, 16)
    assert maetool.load_encoder(repository / "configs/mae/vit-t_shapes.py").encoder.num_layers > 0
    with pytest.raises(UsageError, match=r"no model.encoder"):
        maetool.load_encoder({"model": {}})


def test_other_sizes_patches_and_channels_on_request(tmp_path, encoder, images):
    path = saved(tmp_path, FORMATS["mae"].from_ours(ours(encoder)))
    found = maetool.load_encoder(path, num_heads=3, img_size=64, patch_size=16)
    kernel = encoder.patch_embed.proj.weight
    torch.testing.assert_close(
        found.encoder.patch_embed.proj.weight, resample_patch_embed(kernel, [16, 16]), atol=1e-5, rtol=1e-4
    )
    grey = maetool.load_encoder(path, num_heads=3, in_chans=1, mean=[100.0], std=[50.0])
    one = images[:, :1]
    torch.testing.assert_close(grey(one), encoder(one.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match=r"images have 4 channels, but data_preprocessor gives 3 means"):
        maetool.load_encoder(path, num_heads=3, in_chans=4)


def test_the_report_names_what_was_adapted(tmp_path, encoder):
    path = saved(tmp_path, ours(encoder))
    model = ImageClassifier(VisionTransformer(**{**SIZES, "in_chans": 5, "patch_size": 4}), 2)
    with pytest.raises(UsageError, match=r"3 channels instead of 5 \(init_adapt=\['channels'\] adapts them\)"):
        load_initial(model, path)
    report = load_initial(model, path, adapt=["channels", "patch_size"])
    assert report.resized == [
        "encoder.patch_embed.proj.weight from 3 to 5 channels and from patches of 8x8 to 4x4",
        "encoder.pos_embed from 4x4 to 8x8",
    ]
    assert not {"encoder.patch_embed.proj.weight", "encoder.pos_embed"} & set(report.loaded)
    assert (
        load_initial(ImageClassifier(VisionTransformer(**{**SIZES, "in_chans": 1}), 2), path, adapt="channels").share
        == 1
    )
    with pytest.raises(UsageError, match="init_adapt is"):
        load_initial(model, path, adapt=["patches"])


def test_enlarged_patches_give_the_tokens_that_they_gave():
    torch.manual_seed(0)
    kernel, patch = torch.randn(6, 3, 4, 4), torch.randn(2, 3, 4, 4)
    large = torch.nn.functional.interpolate(patch, size=(8, 6), mode="bicubic", antialias=True)
    tokens = torch.einsum("bchw,dchw->bd", patch, kernel)
    torch.testing.assert_close(
        torch.einsum("bchw,dchw->bd", large, resize_kernel(kernel, (8, 6))), tokens, atol=1e-4, rtol=1e-4
    )
    same = torch.ones(1, 7, 4, 4)
    torch.testing.assert_close(adapt_channels(kernel, 6).sum((1, 2, 3)), kernel.sum((1, 2, 3)))
    assert (adapt_channels(kernel, 7) * same).shape == (6, 7, 4, 4)


def test_a_fine_tuned_one_has_no_final_norm(tmp_path, data_dir):
    import numpy as np

    golden = np.load(data_dir / "vit_finetune_avg.npz")
    state = {k.removeprefix("state/"): torch.from_numpy(golden[k]) for k in golden.files if k.startswith("state/")}
    found = maetool.load_encoder(saved(tmp_path, {"model": state}), num_heads=3)
    pooled = found(torch.from_numpy(golden["imgs"]))[:, 1:].mean(1)
    norm = torch.nn.LayerNorm(48, eps=1e-6)
    norm.load_state_dict({"weight": state["fc_norm.weight"], "bias": state["fc_norm.bias"]})
    torch.testing.assert_close(norm(pooled), torch.from_numpy(golden["feature"]), atol=1e-5, rtol=1e-5)


def test_a_chain_of_conversions_loses_nothing(tmp_path):
    model = tiny_model(encoder={"img_size": (16, 16), "patch_size": (4, 4)})
    meta = {"cfg": Config({"model": tiny_config(encoder={"img_size": (16, 16), "patch_size": (4, 4)})}).pretty_text}
    path = tmp_path / "run.pth"
    write_checkpoint({"state_dict": model.state_dict(), "meta": {**meta, "epoch": 3}}, path)
    for step, to in enumerate(("mae", "transformers", "mmpretrain", "maetool")):
        after = tmp_path / f"{step}.{'safetensors' if step % 2 else 'pth'}"
        write_conversion(convert(path, to), to, after)
        path = after
    state = read_checkpoint(path)
    assert state["state_dict"].keys() == model.state_dict().keys()
    assert all(torch.equal(state["state_dict"][name], value) for name, value in model.state_dict().items())
    assert state["meta"]["epoch"] == 3
    assert state["meta"]["images"]["mean"] == [123.675, 116.28, 103.53]
    assert tuple(state["meta"]["images"]["patch_size"]) == (4, 4)
    assert {"maetool", "torch"} <= state["meta"]["converted_by"].keys()


def test_what_has_no_place_is_named(tmp_path):
    path = saved(tmp_path, {"state_dict": tiny_model().state_dict()})
    conversion = convert(path, "timm", num_heads=3)
    assert conversion.lost and all(name.startswith("decoder.") for name in conversion.lost)
    assert f"{len(conversion.lost)} left out, which have no place there (decoder." in str(conversion)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_exported_with_its_facts(tmp_path, encoder, images, ending):
    path = saved(tmp_path, {"model": FORMATS["mae"].from_ours(ours(encoder))})
    write_weights(encoder_of(read_checkpoint(path), str(path), num_heads=3), tmp_path / f"e{ending}")
    state = read_checkpoint(tmp_path / f"e{ending}")
    assert state["state_dict"].keys() == encoder.state_dict().keys()
    facts = state["meta"]["images"]
    assert (facts["in_chans"], tuple(facts["img_size"]), tuple(facts["patch_size"])) == (3, (32, 32), (8, 8))
    assert len(facts["mean"]) == len(facts["std"]) == 3
    assert torch.equal(maetool.load_encoder(tmp_path / f"e{ending}")(images), encoder(images))  # heads are known now


def test_onnx_of_a_rectangle_and_another_batch(tmp_path, encoder):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model = maetool.load_encoder(saved(tmp_path, ours(encoder)), num_heads=3, img_size=(16, 48))
    path, size = tmp_path / "e.onnx", (16, 48)
    assert write_onnx(model, {"images": {"mean": [1.0]}}, path) < 1e-4
    assert check_onnx(path, model.encoder, torch.randn(7, 3, *size)) < 1e-4
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(metadata["maetool"]) == {"images": {"mean": [1.0]}}
    with pytest.raises(UsageError, match=r"e\.onnx gives values that differ by .* export it as .safetensors"):
        check_onnx(path, VisionTransformer(**{**SIZES, "img_size": size}), torch.randn(1, 3, *size))


def test_onnx_of_convolutions_and_another_batch(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    model = build_frozen({"encoder": {"type": "HybridTransformer", **SIZES, "conv_dims": (8, 16)}})
    path = tmp_path / "e.onnx"
    assert write_onnx(model, {}, path) < 1e-4
    assert check_onnx(path, model.encoder, torch.randn(7, 3, *model.encoder.img_size)) < 1e-4


class Stubborn(VisionTransformer):
    """An encoder whose batch cannot stay open."""

    def forward(self, images):
        return super().forward(images) * len(images)


def test_an_encoder_that_cannot_be_exported_to_onnx(tmp_path):
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    model = FrozenEncoder(Stubborn(**SIZES), ImagePreprocessor(), {})
    with pytest.raises(
        UsageError, match=r"^torch cannot export Stubborn to ONNX \(\w+: [^\n]*\): export it as \.safet"
    ):
        write_onnx(model, {}, tmp_path / "e.onnx")
    assert not list(tmp_path.iterdir())


class OtherAbroad(VisionTransformer):
    """An encoder whose exported graph gives other tokens."""

    def forward(self, images):
        return super().forward(images) + float(torch.compiler.is_compiling())


def test_onnx_that_differs_is_not_written(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    (tmp_path / "e.onnx").write_text("an earlier one")
    with pytest.raises(UsageError, match=r"^The ONNX graph gives values that differ by 1 from the model's"):
        write_onnx(FrozenEncoder(OtherAbroad(**SIZES), ImagePreprocessor(), {}), {}, tmp_path / "e.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an earlier one"]


def test_a_graph_that_onnxruntime_cannot_run_is_one_sentence(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "e.onnx").write_bytes(b"no graph")
    with pytest.raises(UsageError, match=r"^onnxruntime cannot run the graph"):
        check_onnx(tmp_path / "e.onnx", lambda images: images, torch.zeros(1))


def test_onnx_that_is_not_installed(tmp_path, encoder, monkeypatch):
    model = maetool.load_encoder(saved(tmp_path, ours(encoder)), num_heads=3)
    monkeypatch.setattr("maetool.pretrained.graphs.is_installed", lambda name: False)
    with pytest.raises(UsageError, match=r"pip install \"maetool\[onnx\]\""):
        write_onnx(model, {}, tmp_path / "e.onnx")


def test_nothing_recognisable(tmp_path):
    path = saved(tmp_path, {"conv1.weight": torch.zeros(3)})
    with pytest.raises(UsageError, match=r"holds no encoder: none of its 1 tensors is called encoder\."):
        maetool.load_encoder(path)
    with pytest.raises(UsageError, match=r"has no known format: its names, such as conv1.weight"):
        convert(path, "timm")
    with pytest.raises(UsageError, match=r"There is no format 'tim'"):
        convert(path, "tim")
    with pytest.raises(UsageError, match=r"must end in .pth, .safetensors or .onnx"):
        check_out("encoder.pt")


def test_two_candidates(tmp_path, encoder):
    state = FORMATS["mae"].from_ours(ours(encoder))
    path = saved(tmp_path, {"model": state, "teacher": state})
    with pytest.raises(UsageError, match="holds weights in model and in teacher"):
        maetool.load_encoder(path)
    path = saved(tmp_path, state | FORMATS["transformers"].from_ours(ours(encoder)))
    with pytest.raises(UsageError, match="holds names of mae and of transformers, so two models"):
        maetool.load_encoder(path)
    (tmp_path / "second.pth").write_bytes(b"")
    with pytest.raises(UsageError, match=r"must hold one file of weights, but holds second.pth, x.pth"):
        maetool.load_encoder(tmp_path)


def test_heads_and_grids_that_nothing_tells(tmp_path, encoder):
    state = ours(encoder)
    with pytest.raises(UsageError, match="do not determine the heads of width 48"):
        maetool.load_encoder(saved(tmp_path, state))
    state["encoder.pos_embed"] = torch.randn(1, 13, 48)
    with pytest.raises(UsageError, match="learned positions for 12 patches, which is no square"):
        maetool.load_encoder(saved(tmp_path, state), num_heads=3)
    part = {name: value for name, value in ours(encoder).items() if ".blocks.0." not in name}
    with pytest.raises(UsageError, match="holds part of an encoder: it has no block 0"):
        maetool.load_encoder(saved(tmp_path, part), num_heads=3)
    state = ours(encoder) | {"encoder.blocks.0.attn.head_scale": torch.ones(3)}
    with pytest.raises(UsageError, match=r"not a plain ViT \(encoder.blocks.0.attn.head_scale\)"):
        maetool.load_encoder(saved(tmp_path, state), num_heads=3)


def test_incomplete_or_damaged(tmp_path, encoder):
    state = FORMATS["transformers"].from_ours(ours(encoder))
    state.pop("vit.encoder.layer.1.attention.attention.key.bias")
    with pytest.raises(UsageError, match="without the keys and values"):
        to_ours(state)
    save_file(FORMATS["timm"].from_ours(ours(encoder)), tmp_path / "cut.safetensors")
    content = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match="damaged or truncated"):
        maetool.load_encoder(tmp_path / "cut.safetensors")
    table = {"layers.0.attn.relative_position_bias_table": torch.ones(3, 3)}
    with pytest.raises(UsageError, match="learned relative positions"):
        to_ours(FORMATS["mmseg_mae"].from_ours(ours(encoder)) | table)


def test_the_tools(repository, tmp_path, encoder, images, monkeypatch, capsys):
    path, out = saved(tmp_path, {"model": FORMATS["mae"].from_ours(ours(encoder))}), tmp_path / "h.safetensors"

    def tool(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit):
            runpy.run_path(str(repository / "tools" / f"{name}.py"), run_name="__main__")
        return "".join(capsys.readouterr())

    told = tool("convert_checkpoint", path, "--to", "transformers", "--num-heads", 3, "--out", out)
    assert "30 tensors of mae converted, none left out." in told
    assert torch.equal(maetool.load_encoder(out)(images), encoder(images))
    assert "names as in timm" in tool("export_encoder", out, "--out", tmp_path / "e.pth")
    assert torch.equal(maetool.load_encoder(tmp_path / "e.pth")(images), encoder(images))
    assert "error: --out is e.pt, but must end in" in tool("export_encoder", out, "--out", "e.pt")
