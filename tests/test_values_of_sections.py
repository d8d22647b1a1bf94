"""Keys of a config that hold a dict are refused in one sentence where they hold something else."""

from collections.abc import Mapping
from copy import deepcopy

import pytest

from maetool.config.load import load_config, load_for
from maetool.config.prepare import prepare_run
from maetool.errors import UsageError

CONFIG = "configs/finetune/vit-t_shapes.py"
FURTHER = ("optim_wrapper.paramwise_cfg", "optim_wrapper.paramwise_cfg.custom_keys", "optim_wrapper.clip_grad")
FURTHER += ("train_dataloader.batch_sampler", "param_scheduler", "visualizer", "model_wrapper_cfg", "custom_imports")
FURTHER += (
    "val_cfg.bank_dataloader",
    "val_cfg.evaluators.classes.dataloader",
    "auto_scale_lr",
    "test_cfg",
    "test_dataloader",
    "val_evaluator",
    "custom_hooks",
    "log_processor",
)


def places(node, place=""):
    """Yield the keys that hold a dict, at any depth."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for name, value in items:
        inside = f"{place}.{name}".lstrip(".")
        if isinstance(value, Mapping):
            yield inside
        yield from places(value, inside)


def put(node, path, value):
    for name in path[:-1]:
        node = node[int(name)] if isinstance(node, list | tuple) else node.setdefault(name, {})
    node[int(path[-1]) if isinstance(node, list) else path[-1]] = value


def test_a_number_a_word_or_a_list_in_place_of_a_dict(repository):
    base = load_config(repository / CONFIG)
    base.param_scheduler = list(base.param_scheduler)
    accepted, sentences = [], []
    for place in {*places(base._cfg_dict), *FURTHER}:
        for value in (5, "x", [1, 2], 1.5):
            cfg = deepcopy(base)
            put(cfg._cfg_dict, place.split("."), value)
            try:
                prepare_run(cfg)
                accepted.append((place, value))
            except UsageError as error:
                sentences.append(str(error))
    assert accepted == []
    assert len(sentences) > 100 and not any("\n" in sentence for sentence in sentences)


@pytest.mark.parametrize("place", ["model.encoder", "val_cfg", "val_cfg.evaluators", "custom_imports", "optim_wrapper"])
@pytest.mark.parametrize("value", ["5", "x", "[1,2]"])
def test_the_same_as_options_beside_data(repository, place, value, folder):
    with pytest.raises(UsageError, match=place.rpartition(".")[2]):
        prepare_run(load_for(repository / CONFIG, [f"{place}={value}"], folder)[0])


@pytest.mark.parametrize(
    "place", ["val_cfg.bank_dataloader", "val_cfg.evaluators.knn.bank", "val_cfg.evaluators.loss.dataloader"]
)
@pytest.mark.parametrize("value", ["5", "x", "[1,2]"])
@pytest.mark.parametrize("beside", [True, False])
def test_loaders_inside_of_a_loop(repository, place, value, beside, folder):
    with pytest.raises(UsageError, match=rf"{place.rpartition('.')[2]} is .*, but must be a dict or None"):
        prepare_run(
            load_for(repository / "configs/mae/vit-t_shapes.py", [f"{place}={value}"], folder if beside else None)[0]
        )


@pytest.mark.parametrize("option", ["val_cfg=None", "custom_imports=None"])
def test_none_beside_data(repository, option, folder):
    prepare_run(load_for(repository / CONFIG, [option], folder)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from PIL import Image

    root = tmp_path_factory.mktemp("data")
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (root / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(root / name / "x.png")
    return str(root)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("optim_wrapper.paramwise_cfg=5", "optim_wrapper.paramwise_cfg is 5, but must be a dict or None."),
        ("optim_wrapper.paramwise_cfg.custom_keys=5", "paramwise_cfg.custom_keys is 5, but must be a dict."),
        (
            "train_dataloader.persistent_workers=5",
            "train_dataloader.persistent_workers is 5, but must be True or False",
        ),
        (
            "train_dataloader.prefetch_factor=x",
            "train_dataloader.prefetch_factor is 'x', but must be an integer or None",
        ),
        ("val_dataloader.timeout=x", "val_dataloader.timeout is 'x', but must be a number"),
        ("train_dataloader.batch_sampler=5", "train_dataloader.batch_sampler is 5, but must be a dict or None"),
        ("custom_imports=5", "custom_imports is 5, but must be a dict or None"),
    ],
)
def test_sentences(repository, option, sentence):
    with pytest.raises(UsageError) as info:
        prepare_run(load_for(repository / CONFIG, [option])[0])
    assert sentence in str(info.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((f"{part}_dataloader.batch_size", value) for part in ("train", "val") for value in (None, 0, "4")),
        *(("train_cfg.val_interval", value) for value in (0, -1)),
    ],
)
def test_numbers_that_would_count_nothing(repository, place, value):
    cfg = load_config(repository / CONFIG)
    put(cfg._cfg_dict, place.split("."), value)
    with pytest.raises(UsageError, match=rf"{place.rpartition('.')[2]}.*{value!r}"):
        prepare_run(cfg)
