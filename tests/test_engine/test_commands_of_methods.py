"""Commands on a checkpoint of each kind of input: they do what they say, or refuse it in one sentence."""

import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import maetool
from maetool.config.load import load_for
from maetool.config.prepare import prepare_config
from maetool.data import ShapesDataset
from maetool.errors import UsageError
from maetool.metadata.stored_config import stored_facts
from maetool.registry import MODELS
from maetool.weights.write import write_checkpoint

PICTURES = "(the|The) encoder (reads|takes) clips or volumes"
FEW, IDS = "a photograph, but 10 channels were expected", "reads codes and not one tensor"
FRAMES, NONE = "TwoFrames takes frames", "the data is a tensor of 3 axes"
# Whether reconstructions are drawn, of the config's data and of photographs, and features taken of photographs; or what
# is said instead.
METHODS = {
    "adamae/vit-t-two-optimizers_moving-shapes": (None, PICTURES, PICTURES),
    "attmask/vit-t_shapes": (None, None, None),
    "cae/vit-t_shapes": ("cannot be turned back", "cannot be turned back", None),
    "cropmae/vit-t_shapes": (None, None, None),
    "everest/vit-t_moving-shapes": (None, PICTURES, PICTURES),
    "mage/vit-t_shapes": (NONE, NONE, IDS),
    "satmae/vit-t_bands": ("StreamTarget cannot be turned back", FEW, FEW),
    "siammae/vit-t_moving_shapes": (None, FRAMES, None),
    "videomae/vit-t_moving-shapes": (None, PICTURES, PICTURES),
}


@pytest.fixture
def call(monkeypatch, repository):
    """Run a command in this process; it must refuse what `refused` matches."""

    def call(name, *arguments, refused=None):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        main = import_module(f"maetool.commands.{name}").main
        if refused is None:
            main()
            return
        with pytest.raises(UsageError, match=refused):
            main()

    return call


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Four photographs of two classes."""
    root, shapes = tmp_path_factory.mktemp("images"), ShapesDataset(4, 48)
    for number in range(4):
        place = root / f"class{number % 2}"
        place.mkdir(exist_ok=True)
        Image.fromarray(shapes[number]["inputs"].permute(1, 2, 0).numpy()).save(place / f"{number}.png")
    return root


@pytest.mark.parametrize("name", METHODS)
def test_commands(name, call, repository, photographs, tmp_path):
    drawn, of_photographs, features = METHODS[name]
    cfg, _ = load_for(repository / f"configs/{name}.py", debug=True)
    config, checkpoint, picture = (tmp_path / file for file in ("own.py", "own.pth", "own.png"))
    cfg.dump(config)
    prepare_config(cfg)
    model = MODELS.build(cfg.model)
    write_checkpoint({"meta": stored_facts(cfg), "state_dict": model.state_dict()}, checkpoint)
    call("test", config, checkpoint, "--work-dir", tmp_path / "test")
    assert (tmp_path / "test" / "metrics.json").is_file()
    reconstruct = ("visualize_reconstruction", config, checkpoint, "--out", picture, "--num", 2)
    call(*reconstruct, refused=drawn)
    assert picture.is_file() == (drawn is None)
    call(*reconstruct, "--data", photographs, refused=of_photographs)
    out = ("--out", tmp_path / "features.npz", "--workers", 0)
    call("extract_features", checkpoint, "--data", photographs, *out, refused=features)
    assert features or np.load(tmp_path / "features.npz")["features"].shape == (4, model.encoder.embed_dim)
    call("quick_eval", checkpoint, "--data", photographs, "--k", 1, "--workers", 0, refused=features)
    call("predict", config, checkpoint, photographs / "class0/0.png", refused="its task is pretraining")
    call("export_encoder", checkpoint, "--out", tmp_path / "encoder.safetensors")
    assert load_file(tmp_path / "encoder.safetensors").keys() == model.encoder.state_dict().keys()
    loaded = maetool.load_encoder(tmp_path / "encoder.safetensors").encoder
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.encoder.state_dict().items())
