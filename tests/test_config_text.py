"""The text of a config, which a run writes to its folder, describes the same model as the config."""

import pytest
import torch
from mmengine import Config

from maetool.config.load import load_config
from maetool.config.text import OrderedConfig
from maetool.registry import ENCODERS


def in_order(value):
    """Return a value in which dicts are lists of pairs, so that their order counts."""
    if isinstance(value, dict):
        return [(key, in_order(each)) for key, each in value.items()]
    return [type(value), *map(in_order, value)] if isinstance(value, list | tuple) else value


VALUES = {
    "names": {"z": 1, "a": {"y": (1,), "b": [[], (), {}]}},
    "other_keys": {3: "three", "two words": 2, "class": 1, (1, 2): None},
    "text": "a 'quoted' \"word\"\nand a line",
    "numbers": [1e-8, -0.0, 2**70, True],
    "long": [{"type": "x" * 30, "b": number, "a": ("y" * 30, "z" * 30)} for number in range(3)],
    "loaded_class": int,
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_in_their_order(name, tmp_path):
    cfg = OrderedConfig({"value": VALUES[name]})
    cfg.dump(tmp_path / "config.py")
    read = Config.fromfile(tmp_path / "config.py")
    assert in_order(read.to_dict()["value"]) == in_order(VALUES[name])
    assert max(map(len, cfg.pretty_text.splitlines())) <= 100


@pytest.mark.parametrize("path", ["satmae/vit-t_bands", "mage/vit-t_shapes", "segmentation/upernet_vit-t_shapes"])
def test_a_config_in_the_folder_of_a_run_keeps_the_order_of_each_section(path, repository, tmp_path):
    cfg = load_config(repository / f"configs/{path}.py")
    cfg.dump(tmp_path / "config.py")
    read = load_config(tmp_path / "config.py")
    assert {name: in_order(part) for name, part in read.to_dict().items()} == {
        name: in_order(part) for name, part in cfg.to_dict().items()
    }


def test_groups_of_equal_size_are_not_exchanged(tmp_path):
    """Their weights have the same shapes, so that nothing else would notice."""
    stem = {"type": "GroupStem", "groups": {"red": [0], "green": [1], "blue": [2]}, "img_size": 8, "patch_size": 4}
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    encoder = {"type": "StreamTransformer", "stems": {"bands": stem}, **sizes}
    trained = Config({"model": {"encoder": encoder}})  # as MMEngine loads it
    OrderedConfig.copy_of(trained).dump(tmp_path / "config.py")
    first, second = (ENCODERS.build(cfg.model.encoder) for cfg in (trained, Config.fromfile(tmp_path / "config.py")))
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(first(images), second(images))
