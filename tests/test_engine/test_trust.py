"""What a stranger's checkpoint may say of its model: nothing that runs, connects, opens files or takes the memory."""

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine import Config
from runs import make_runner
from safetensors.torch import save_file

import maetool
from maetool.backbones import UPerNetBackbone
from maetool.config.load import load_config
from maetool.config.trust import build_trusted, trusted
from maetool.engine.repeat import RepeatedStep
from maetool.errors import UsageError
from maetool.metadata.stored_config import read_section, store_config
from maetool.pretrained.card import model_card
from maetool.pretrained.convert import convert
from maetool.pretrained.export import encoder_of
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.initial import load_initial
from maetool.pretrained.predict import load_trained
from maetool.registry import MODELS, TARGETS
from maetool.testing.tiny import tiny_batch, tiny_model
from maetool.weights.read import read_checkpoint

VIT = {"type": "VisionTransformer", "img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
PREPROCESSOR = {"type": "ImagePreprocessor"}
TIMM = {
    **VIT,
    "type": "TimmEncoder",
    "name": "vit_tiny_patch16_224",
    "options": {"pretrained": True, "pretrained_cfg": {"url": "http://127.0.0.1:9/weights.pth", "file": "x.pth"}},
}
CODES = {"type": "TokenTarget", "source": {"type": "PixelTarget"}}
EVIL = {"type": "canary.Part", "x": 1}
RUN = {"type": "subprocess.Popen", "args": ["true"]}


def segmentor(**parts):
    section = {"type": "Segmentor", "encoder": dict(VIT), "num_classes": 2, "data_preprocessor": dict(PREPROCESSOR)}
    return section | {"decode_head": {"type": "LinearMapHead"}} | parts


def masked(**parts):
    return {
        "type": "MaskedImageModel",
        "encoder": dict(VIT),
        "data_preprocessor": dict(PREPROCESSOR),
        "masker": {"type": "RandomMasker"},
        "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
        "target": {"type": "PixelTarget"},
        "head": {"type": "RegressionHead"},
        **parts,
    }


def task(**parts):
    more = {"decoder": {"type": "TransformerDecoder", "embed_dim": 16, "num_heads": 2}, **parts}
    return masked(tasks={"more": {"head": {"type": "RegressionHead"}, **more}})


# The section `model`, and what else stands at the top of the config.
GADGETS = {
    "encoder": (segmentor(encoder={**VIT, "type": "canary.Part"}), {}),
    "decode head": (segmentor(decode_head=RUN), {}),
    "auxiliary head": (segmentor(auxiliary_head={"type": "LinearMapHead", "in_index": [{"a": EVIL}]}), {}),
    "pyramid": (segmentor(pyramid={"type": "LastMap", "deeper": {"type": "os.system", "command": "true"}}), {}),
    "preprocessor": (segmentor(data_preprocessor=EVIL), {}),
    "a module without a dot": (segmentor(decode_head={"type": "canary"}), {}),
    "a scope": (segmentor(decode_head={"type": "LinearMapHead", "_scope_": "canary"}), {}),
    "a scope in the encoder": (segmentor(encoder={**VIT, "_scope_": "canary"}), {}),
    "a scope in the type": (segmentor(decode_head={"type": "canary.LinearHead"}), {}),
    "a list of types": (segmentor(decode_head={"type": ["canary.Part"]}), {}),
    "a dict as type": (segmentor(decode_head={"type": {"type": "canary.Part"}}), {}),
    "timm": (segmentor(encoder=TIMM), {}),
    "timm's checkpoint": (segmentor(encoder={**TIMM, "options": {"checkpoint_path": "canary.pth"}}), {}),
    "timm's folder": (segmentor(encoder={**TIMM, "options": {"pretrained": True, "cache_dir": "canary"}}), {}),
    "timm's hub": (segmentor(encoder={**TIMM, "name": "hf-hub:somebody/model", "options": {}}), {}),
    "timm's hub by another name": (segmentor(encoder={**TIMM, "options": {"hf_hub_id": "model"}}), {}),
    "timm's overlay": (segmentor(encoder={**TIMM, "options": {"pretrained_cfg_overlay": {"file": "canary.pth"}}}), {}),
    "timm's local folder": (segmentor(encoder={**TIMM, "name": "local-dir:canary", "options": {}}), {}),
    "a block of timm": (segmentor(encoder={**TIMM, "options": {"block_fn": "canary.Part"}}), {}),
    "a layer of timm": (segmentor(encoder={**TIMM, "options": {"norm_layer": "canary.Part"}}), {}),
    "a data set as a part": (segmentor(decode_head={"type": "ImageFolderDataset", "root": "canary"}), {}),
    "a list of files": (masked(target={"type": "TokenTarget", "codebook": ["http://127.0.0.1:9/c.pth"]}), {}),
    "masker": (masked(masker=EVIL), {}),
    "list of maskers": (masked(masker={"type": "MixedMasker", "maskers": [{"type": "RandomMasker"}, EVIL]}), {}),
    "target": (masked(target={"type": "TokenTarget", "codebook": 8, "source": EVIL}), {}),
    "codebook": (masked(target={"type": "TokenTarget", "codebook": "http://127.0.0.1:9/c.pth"}), {}),
    "teacher": (
        masked(target={"type": "TeacherFeatureTarget", "teacher": VIT, "checkpoint": "http://127.0.0.1:9/t.pth"}),
        {},
    ),
    "teacher of timm": (masked(target={"type": "TeacherFeatureTarget", "teacher": TIMM}), {}),
    "task": (task(head=EVIL), {}),
    "task's target": (task(target=EVIL), {}),
    "advisor": (masked(advisors={"one": RUN}), {}),
    "init_cfg": (segmentor(init_cfg={"type": "Pretrained", "checkpoint": "http://127.0.0.1:9/i.pth"}), {}),
    "deep": (masked(head={"type": "RegressionHead", "a": {"b": [[{"c": ({"d": EVIL},)}]]}}), {}),
    "hooks": (masked(), {"custom_hooks": [EVIL], "default_hooks": {"checkpoint": RUN}}),
    "pipeline": (masked(), {"train_dataloader": {"dataset": {"type": "canary.Part", "pipeline": [EVIL]}}}),
    "imports": (masked(), {"custom_imports": {"imports": ["canary"], "allow_failed_imports": False}}),
    "scope of the config": (masked(), {"default_scope": "canary"}),
}
FORMS = ("config", "cfg", "meta", "safetensors")
WEIGHTS = None


def weights_of_model():
    global WEIGHTS
    if WEIGHTS is None:
        with torch.random.fork_rng():
            encoder = MODELS.build(masked()).state_dict()
        WEIGHTS = {**encoder, "head.weight": torch.zeros(2, 24), "head.bias": torch.zeros(2)}
    return {name: value.clone() for name, value in WEIGHTS.items()}


def write(folder, form, model, more):
    """Write a checkpoint that says its model in one of the places that are read."""
    config = {"model": model, **more}
    meta = {"epoch": 1, "iter": 2, "seed": 0, "process": 0, "fault": "", "dtype": "float32"}
    meta |= {"config": json.dumps(config)} if form in ("config", "safetensors") else {}
    meta |= {"cfg": "".join(f"{name} = {value!r}\n" for name, value in config.items())} if form == "cfg" else {}
    if form in ("meta", "safetensors"):
        meta |= {name: model[name] for name in ("encoder", "data_preprocessor")}
    if form == "safetensors":
        save_file(weights_of_model(), folder / "c.safetensors", {"maetool": json.dumps(meta)})
        return folder / "c.safetensors"
    batch, hub = {"inputs": tiny_batch()["inputs"]}, {"log_scalars": {}, "runtime_info": {}}
    state = {"meta": meta, "state_dict": weights_of_model(), "batch": batch, "plan": None}
    torch.save({**state, "optimizer": {}, "message_hub": hub, "param_schedulers": []}, folder / "c.pth")
    return folder / "c.pth"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Yield what ran, connected or was opened outside of the checkpoint."""
    seen = []
    (tmp_path / "canary").mkdir()
    for name in ("__init__", "registry"):
        (tmp_path / "canary" / f"{name}.py").write_text("import builtins\nbuiltins.canary_seen.append(__name__)\n")
    import builtins

    monkeypatch.setattr(builtins, "canary_seen", seen, raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    def refuse(what, passed=None):
        def call(*args, **named):
            if passed is not None and ["true"] not in (*args, *named.values()):  # such as MMEngine's `gcc --version`
                return passed(*args, **named)
            seen.append(f"{what} {args[1:2]}")
            raise OSError(f"{what} is refused by the test")

        return call

    monkeypatch.setattr(socket.socket, "connect", refuse("connect"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse("getaddrinfo"))
    monkeypatch.setattr(subprocess, "Popen", refuse("Popen", subprocess.Popen))
    monkeypatch.setattr(os, "system", refuse("system"))
    yield seen
    for name in [name for name in sys.modules if name.partition(".")[0] == "canary"]:
        del sys.modules[name]


def export(path):
    state = read_checkpoint(path)
    return model_card(encoder_of(state, str(path)), state.get("meta") or {}, "encoder.pth")


def load_from(path, repository, folder, **arguments):
    runner = make_runner(repository, folder / "run", options=[f"load_from={path}"], **arguments)
    runner.load_or_resume()


def backbone(path):
    module = UPerNetBackbone(dict(VIT), init_cfg={"type": "Pretrained", "checkpoint": str(path)})
    module.init_weights()


def predict(path, repository):
    load_trained(load_config(repository / "configs/finetune/vit-t_shapes.py"), str(path))


def teacher(path):
    facts = {"grid": (4, 4), "patch_size": 8}
    TARGETS.build({"type": "TeacherFeatureTarget", "teacher": dict(VIT), "checkpoint": str(path)}, default_args=facts)


LOADERS = {
    "load_encoder": lambda path, *_: maetool.load_encoder(path),
    "another size": lambda path, *_: maetool.load_encoder(path, img_size=64),
    "load_frozen": lambda path, *_: load_frozen(path),
    "untrained": lambda path, *_: load_frozen(path, trained=False),
    "export": lambda path, *_: export(path),
    "convert": lambda path, *_: convert(path, "timm"),
    "to ours": lambda path, *_: convert(path, "maetool"),
    "repeat_step": lambda path, *_: RepeatedStep(str(path)).run(),
    "--init": lambda path, *_: load_initial(tiny_model(encoder={**VIT}), path),
    "codebook": lambda path, *_: tiny_model(target={**CODES, "codebook": str(path)}),
    "teacher": lambda path, *_: teacher(path),
    "init_cfg": lambda path, *_: backbone(path),
    "predict and test": lambda path, repository, _: predict(path, repository),
    "load_from": load_from,
    "--resume": lambda path, repository, folder: load_from(path, repository, folder, resume=True),
}
SLOW = ("load_from", "--resume", "predict and test")  # as they build no section, one gadget of each kind is enough


@pytest.mark.parametrize("loader", LOADERS)
def test_nothing_runs_connects_or_is_imported(tmp_path, repository, canary, loader):
    refused, names = 0, ["decode head", "timm", "imports", "hooks", "a scope"] if loader in SLOW else list(GADGETS)
    for name in names:
        for form in FORMS if loader in ("load_encoder", "load_frozen") else FORMS[::3]:
            model, more = copy.deepcopy(GADGETS[name])
            path = write(tmp_path, form, model, more)
            if loader == "codebook":
                model["target"] = {"type": "PixelTarget"}
            try:
                LOADERS[loader](path, repository, tmp_path)
            except UsageError as error:
                refused += "\n" not in str(error)
            assert canary == [], (name, form)
    assert refused or loader in ("--init", "teacher", "init_cfg")


@pytest.mark.parametrize("section", [segmentor(), masked(), task()])
def test_without_a_gadget_the_sections_are_built(tmp_path, section):
    path = write(tmp_path, "config", section, {})
    model = build_trusted(trusted(section, path), MODELS, weights_of_model(), path)
    assert model.encoder.embed_dim == 24 and maetool.load_encoder(path).encoder.embed_dim == 24


CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path for path in CONFIGS.rglob("*_shapes.py") if "_base_" not in path.parts)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_recipe_is_built_from_what_its_checkpoint_says(path):
    cfg = load_config(path)
    if isinstance(cfg.model.get("target", {}).get("codebook"), str):
        pytest.skip("a tokenizer's file, which a checkpoint may not name")
    section = trusted(read_section({"config": store_config(cfg)}, "model"), path)
    expected = MODELS.build(copy.deepcopy(section)).state_dict()
    built = build_trusted(section, MODELS, expected, path).state_dict()
    assert {name: value.shape for name, value in built.items()} == {n: value.shape for n, value in expected.items()}


BAD_FACTS = {
    "a list": [1],
    "a number as config": {"cfg": 5},
    "a list as config": {"config": [1]},
    "a word as encoder": {"encoder": "VisionTransformer"},
    "an encoder without a type": {"encoder": {"img_size": 32}},
    "a preprocessor without a type": {"encoder": VIT, "data_preprocessor": {"mean": [1]}},
    "a model as encoder": {"encoder": {"type": "ImageClassifier", "num_classes": 2}},
    "a ratio that is no number": {"encoder": {**VIT, "mlp_ratio": float("nan")}},
    "a negative ratio": {"encoder": {**VIT, "mlp_ratio": -1.0}},
    "a word as width": {"encoder": {**VIT, "embed_dim": "wide"}},
    "a fraction as heads": {"encoder": {**VIT, "num_heads": 1.5}},
    "minus signs": {"cfg": "model = " + "-" * 60_000 + "1"},
    "few minus signs": {"cfg": "model = " + "-" * 3_000 + "1"},
    "brackets": {"config": "[" * 200_000},
    "brackets in text": {"cfg": "model = " + "[" * 150 + "]" * 150},
    "additions": {"cfg": "model = " + "+".join("1" * 50_000)},
    "many blocks": {"encoder": {**VIT, "depth": 10**7}},
    "more blocks": {"encoder": {**VIT, "depth": 10**12}},
    "a wide encoder": {"encoder": {**VIT, "embed_dim": 24 * 10**6}},
    "large images": {"encoder": {**VIT, "img_size": 8 * 10**5}},
    "larger images": {"encoder": {**VIT, "img_size": [8 * 10**18, 8 * 10**18]}},
    "wide layers": {"encoder": {**VIT, "mlp_ratio": 1e9}},
    "many channels": {"encoder": {**VIT, "in_chans": 10**10}},
    "many means": {"encoder": VIT, "data_preprocessor": {**PREPROCESSOR, "mean": [1.0] * 4}},
    "a deviation of zero": {"encoder": VIT, "data_preprocessor": {**PREPROCESSOR, "std": [0.0, 1.0, 1.0]}},
    "a giant of timm": {"encoder": {"type": "TimmEncoder", "name": "eva_giant_patch14_336", "img_size": 336}},
    "many classes": {"config": json.dumps({"model": segmentor(num_classes=10**9)})},
    "many codes": {"config": json.dumps({"model": masked(target={**CODES, "codebook": 10**12})})},
}
# What is of the right kinds is only seen to be impossible by what builds the encoder, or the whole model.
IMPOSSIBLE = ("a ratio that is no number", "a negative ratio", "many blocks", "more blocks", "a wide encoder")
IMPOSSIBLE += ("large images", "larger images", "wide layers", "many channels", "many means", "a deviation of zero")
IMPOSSIBLE += ("a giant of timm",)
UNUSED = {loader: ["many codes", "many classes"] for loader in ("load_encoder", "load_frozen")}
UNUSED |= {loader: ["many codes", "many classes", *IMPOSSIBLE] for loader in ("export", "to ours")}


@pytest.mark.parametrize("loader", ["load_encoder", "load_frozen", "export", "to ours", "repeat_step"])
@pytest.mark.parametrize("facts", BAD_FACTS)
def test_facts_of_another_kind_are_one_sentence(tmp_path, loader, facts, repository):
    weights = weights_of_model()
    meta = BAD_FACTS[facts]
    if isinstance(meta, dict):
        meta = {"iter": 2, "epoch": 1, "seed": 0, "process": 0, "fault": "", "dtype": "float32", **meta}
    batch = {"inputs": torch.zeros(2, 3, 32, 32, dtype=torch.uint8)}
    torch.save({"meta": meta, "state_dict": weights, "batch": batch, "plan": None}, tmp_path / "c.pth")
    if facts in UNUSED.get(loader, ()):
        LOADERS[loader](tmp_path / "c.pth", repository, tmp_path)
        return
    with pytest.raises(UsageError) as caught:
        LOADERS[loader](tmp_path / "c.pth", repository, tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_the_bound_lets_models_of_the_file_pass(tmp_path):
    torch.save({"meta": {"encoder": VIT}, "state_dict": weights_of_model()}, tmp_path / "c.pth")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    own = weights_of_model()
    found = maetool.load_encoder(tmp_path / "c.pth").encoder.state_dict()
    assert all(torch.equal(value, own[f"encoder.{name}"]) for name, value in found.items())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "key", ["pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"]
)
def test_timm_fetches_no_weights_in_any_config(key, canary):
    with pytest.raises(UsageError, match=f"TimmEncoder.options has {key}, .* --init"):
        tiny_model(encoder={**TIMM, "options": {key: True}})
    assert canary == []


def test_a_step_of_parts_that_are_not_registered_needs_its_config(tmp_path, repository, monkeypatch):
    """What a file may not say, a config that the user names may."""
    (tmp_path / "my_parts.py").write_text("from maetool.maskers import RandomMasker\nclass Mine(RandomMasker): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = write(tmp_path, "config", masked(masker={"type": "my_parts.Mine"}), {})
    state = torch.load(path)
    state["state_dict"] = MODELS.build(masked()).state_dict()
    torch.save(state, path)
    with pytest.raises(UsageError, match=r"names my_parts.Mine, which is not registered: .*--config"):
        RepeatedStep(str(path))
    assert "my_parts" not in sys.modules
    config = Config({"model": masked(masker={"type": "my_parts.Mine"})})
    assert type(RepeatedStep(str(path), model=config.model).model.masker).__name__ == "Mine"
