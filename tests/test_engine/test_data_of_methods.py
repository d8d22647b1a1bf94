"""--data in place of the drawn data of each method: its views and ids stay, and what no picture can be is refused."""

import numpy as np
import pytest
from PIL import Image

from maetool.config.load import load_config, load_for
from maetool.config.prepare import prepare_config
from maetool.config.user_data import use_data
from maetool.data import ShapesDataset
from maetool.engine.launch import build_runner
from maetool.errors import UsageError
from maetool.registry import DATASETS

VIEWS, CODES = ["GlobalToLocalViews"], ["RandomResizedCrop", "RandomHorizontalFlip", "ColourCodes"]
TAKEN = {  # config: transforms of training and of validation
    "attmask/vit-t_shapes": (CODES[:2], ["ResizeCenterCrop"]),
    "cropmae/vit-s_400e": (VIEWS, VIEWS),
    "cropmae/vit-t_shapes": (VIEWS, VIEWS),
    "mage/vit-b_1600e": (CODES, ["ResizeCenterCrop", "ColourCodes"]),
    "mage/vit-t_shapes": (CODES, ["ResizeCenterCrop", "ColourCodes"]),
}
REFUSED = {
    "adamae/vit-b_800e": "clips or volumes of 16x224x224",
    "everest/vit-t_moving-shapes": "clips or volumes of 4x24x24",
    "videomae/vit-t_moving-shapes": "clips or volumes of 4x24x24",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of two classes, for training and validation."""
    root, shapes = tmp_path_factory.mktemp("images"), ShapesDataset(8, 48)
    for number in range(8):
        place = root / ("train" if number < 4 else "val") / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shapes[number]["inputs"].permute(1, 2, 0).numpy()).save(place / f"{number}.png")
    return root


@pytest.mark.parametrize("config", TAKEN)
def test_the_views_and_ids_that_a_model_reads_are_made_of_the_users_images(config, repository, folder):
    cfg, _ = load_for(repository / f"configs/{config}.py", data=str(folder))
    prepare_config(cfg)
    own = load_config(repository / f"configs/{config}.py")
    for loader, names in zip(("train_dataloader", "val_dataloader"), TAKEN[config], strict=True):
        dataset = DATASETS.build(cfg[loader].dataset)
        assert [transform["type"] for transform in cfg[loader].dataset.pipeline] == names
        made = dataset[0]["inputs"]
        if names == VIEWS:
            size = (32, 32) if "shapes" in config else (224, 224)
            assert made.keys() == {"global", "local"} and made["local"].shape == (3, *size)
            first, stated = (each[loader].dataset.pipeline[0].global_scale for each in (cfg, own))
            assert first == stated
        elif "ColourCodes" in names:
            assert made.shape == ((8, 8) if "shapes" in config else (16, 16))


@pytest.mark.parametrize("config", ["cropmae/vit-s_400e", "cropmae/vit-t_shapes"])
def test_an_evaluator_of_the_same_samples_without_views_sees_the_users_images(config, repository, folder):
    cfg, _ = load_for(repository / f"configs/{config}.py", data=str(folder))
    knn = cfg.val_cfg.evaluators.knn.dataloader.dataset
    assert knn.root == cfg.val_dataloader.dataset.root == str(folder / "val")
    assert [transform["type"] for transform in knn.pipeline] == ["ResizeCenterCrop"]


def test_an_evaluator_of_other_samples_keeps_them(repository, folder):
    other = {"type": "ShapesDataset", "num_samples": 5, "seed": 9}
    cfg = load_config(repository / "configs/cropmae/vit-t_shapes.py")
    cfg.val_cfg.evaluators.knn.dataloader.dataset = dict(other)
    use_data(cfg, str(folder))
    assert dict(cfg.val_cfg.evaluators.knn.dataloader.dataset) == other


@pytest.mark.parametrize("config", REFUSED)
def test_what_no_picture_can_be_is_refused_at_once(config, repository, folder):
    with pytest.raises(UsageError, match=f"--data reads pictures, but the encoder takes {REFUSED[config]}: set the"):
        load_for(repository / f"configs/{config}.py", data=str(folder))


def test_two_frames_of_a_picture_are_refused(repository, folder):
    cfg, _ = load_for(repository / "configs/siammae/vit-t_moving_shapes.py", data=str(folder))
    prepare_config(cfg)
    with pytest.raises(UsageError, match="give a dataset of clips"):
        DATASETS.build(cfg.train_dataloader.dataset)[0]


def test_a_picture_is_no_pair_of_views(repository, folder):
    cfg, _ = load_for(repository / "configs/croco/vit-t_scene-pairs.py", data=str(folder))
    prepare_config(cfg)
    assert cfg.train_dataloader.dataset.pipeline[0]["size"] == (32, 32)
    with pytest.raises(UsageError, match="SplitViews takes channel 5, counted from 0, but the image has 3"):
        DATASETS.build(cfg.train_dataloader.dataset)[0]


def test_a_classifier_on_groups_of_bands_trains_on_arrays(repository, tmp_path):
    """The channels are those of the only stem, and no reconstructions are drawn."""
    for number in range(16):
        place = tmp_path / "bands" / ("train" if number < 8 else "val") / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{number}.npy", np.random.default_rng(number).random((32, 32, 10), np.float32))
    pretrained = load_config(repository / "configs/satmae/vit-t_bands.py").model
    encoder, preprocessor = pretrained.encoder.to_dict(), pretrained.data_preprocessor.to_dict()
    (tmp_path / "own.py").write_text(
        '_base_ = ["maetool::finetune/vit-t_shapes.py"]\n'
        f"model = dict(encoder=dict(_delete_=True, **{encoder!r}), data_preprocessor={preprocessor!r})\n"
    )
    options = [f"work_dir={tmp_path / 'run'}"]
    cfg, _ = load_for(tmp_path / "own.py", options, str(tmp_path / "bands"), debug=True)
    assert cfg.model.num_classes == 2
    runner = build_runner(cfg)
    assert runner.train_dataloader.dataset[0]["inputs"].shape[0] == 10
    runner.train()
    assert runner.iter == 4
