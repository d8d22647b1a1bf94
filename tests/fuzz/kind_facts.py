"""What a readable checkpoint says of its model, beside weights that are whole: values of any kind in any place."""

import copy
import json

import torch
from damage import value_damaged

from maetool.engine.repeat import RepeatedStep
from maetool.pretrained.card import model_card
from maetool.pretrained.encoder import load_encoder
from maetool.pretrained.export import encoder_of
from maetool.pretrained.frozen import load_frozen
from maetool.registry import MODELS
from maetool.weights.read import read_checkpoint

MEMORY = 2**30
VIT = {"type": "VisionTransformer", "img_size": [16, 16], "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
IMAGES = {"type": "ImagePreprocessor", "mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 3.0]}
MODEL = {
    "type": "MaskedImageModel",
    "encoder": VIT,
    "data_preprocessor": IMAGES,
    "masker": {"type": "RandomMasker", "mask_ratio": 0.5},
    "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
    "target": {"type": "PixelTarget"},
    "head": {"type": "RegressionHead"},
}
CONFIG = {
    "model": MODEL,
    "train_dataloader": {"batch_size": 4, "dataset": {"type": "ShapesDataset", "num_samples": 8}},
    "optim_wrapper": {"optimizer": {"type": "AdamW", "weight_decay": 0.05}},
    "custom_hooks": [{"type": "GuardHook"}],
    "base_lr": 0.1,
}
META = {
    "epoch": 1,
    "iter": 2,
    "seed": 0,
    "process": 0,
    "fault": "the loss is nan",
    "dtype": "float32",
    "num_images": 8,
    "versions": {"maetool": "0.2.0"},
    "dataset_meta": {"classes": ["a", "b"]},
}
NAMES = ("torch", "os.system", "this", "antigravity", "ImageClassifier", "TimmEncoder", "", "RandomMasker")
SIZES = (10**4, 10**7, 10**12, -1, 0, float("nan"), float("inf"), 1e300)
LOADERS = ("load_encoder", "load_frozen", "export", "repeat")


def _part_damaged(rng, config):
    """Return a config in which the type or a number of some part is another one."""
    parts = [MODEL, *(part for part in MODEL.values() if isinstance(part, dict))]
    chosen = rng.choice(parts)
    key = rng.choice(list(chosen))
    value = rng.choice(NAMES) if key == "type" else rng.choice((rng.choice(SIZES), [rng.choice(SIZES)] * 2))
    text = json.dumps(config).replace(json.dumps(chosen), json.dumps({**chosen, key: value}))
    return json.loads(text)


def make_case(rng, folder):
    config, meta, how = copy.deepcopy(CONFIG), copy.deepcopy(META), rng.randrange(8)
    if 1 <= how < 4:
        config = _part_damaged(rng, config)
    elif how in (4, 5):
        config = value_damaged(rng, config)
    form = rng.randrange(3)
    if form == 0:
        meta["config"] = json.dumps(config)
    elif form == 1 and isinstance(config, dict):
        meta["cfg"] = "".join(f"{name} = {value!r}\n" for name, value in config.items())
    elif isinstance(config, dict) and isinstance(config.get("model"), dict):
        meta |= {name: config["model"].get(name) for name in ("encoder", "data_preprocessor")}
    if how >= 6:
        meta = value_damaged(rng, meta)
    if how == 6:
        (folder / "config.json").write_text(
            json.dumps(value_damaged(rng, {"num_attention_heads": 2, "image_size": 16}))
        )
        images = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
        (folder / "preprocessor_config.json").write_text(json.dumps(value_damaged(rng, images)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = MODELS.build(copy.deepcopy(MODEL)).state_dict()
    batch = {"inputs": torch.zeros(2, 3, 16, 16, dtype=torch.uint8)}
    torch.save({"meta": meta, "state_dict": weights, "batch": batch, "plan": None}, folder / "c.pth")
    return folder / "c.pth", rng.choice(LOADERS), how == 0 and form < 2, weights


def try_case(case):
    path, loader, whole, weights = case
    if loader == "export":
        state = read_checkpoint(path)
        exported = encoder_of(state, str(path))
        model_card(exported, state.get("meta") or {}, "encoder.pth")
        found = {f"encoder.{name}": value for name, value in exported["state_dict"].items()}
    else:
        load = {
            "load_encoder": load_encoder,
            "load_frozen": load_frozen,
            "repeat": lambda p: RepeatedStep(str(p)).model,
        }
        found = {f"encoder.{name}": value for name, value in load[loader](path).encoder.state_dict().items()}
    expected = {name: value for name, value in weights.items() if name.startswith("encoder.")}
    if whole:
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    return "right"
