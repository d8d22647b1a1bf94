"""From a config to a runner, a model or a dataset: what the tools call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine import Config
from torch import Tensor, nn
from torch.utils.data import Dataset

from maetool.config_stored import config_file_of
from maetool.data.image_size import chosen_limit
from maetool.errors import UsageError
from maetool.registry import DATASETS, MODELS, RUNNERS, find_part
from maetool.writing import check_folder

from .checkpoint import checkpoints_in, load_weights, read_checkpoint, weights_of
from .config import load_config
from .config_prepare import prepare_config, prepare_run
from .earlier import check_as_trained
from .hooks import ReconstructionHook
from .optim import precision_of
from .runner import MaetoolRunner
from .state import versions
from .user_data import use_data

__all__ = [
    "build_dataset",
    "build_runner",
    "drop_missing_validation",
    "load_model",
    "masks_of",
    "need_validation",
    "refuse_to_overwrite",
    "use_data",
]


def drop_missing_validation(cfg: Config) -> str | None:
    """Train without validation where its folder is missing but the training data is there; return what was said."""
    root = cfg.val_dataloader.dataset.get("root") if cfg.get("val_dataloader") else None
    if root is None or Path(root).exists():
        return None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    return f"No validation: there is no {root}. Set val_dataloader.dataset.root to validate."


def need_validation(cfg: Config) -> Config:
    """Return the config itself if it has validation data.

    Raises:
        UsageError: it has none.
    """
    if not cfg.get("val_dataloader"):
        raise UsageError("The config has no val_dataloader: pass images with --data FOLDER, or add one.")
    return cfg


def build_runner(cfg: Config) -> MaetoolRunner:
    """Check and complete a config and build its runner.

    Raises:
        UsageError: anything in the config that a person got wrong.
    """
    check_folder(cfg.get("work_dir") or ".", "work_dir")
    prepare_run(cfg)
    runner = _runner_class(cfg).from_cfg(cfg)
    _check_pictures(runner)
    parameters = sum(p.numel() for p in runner.bare_model.parameters())
    runner.logger.info(
        "%s with %.1f million parameters on %s in %s.",
        *(
            runner.model_name,
            parameters / 1e6,
            _device(runner),
            precision_of(cfg.optim_wrapper),
        ),
    )
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    runner.logger.info("%s; seed %d, %d process(es).", found, runner.seed, runner.world_size)
    return runner


def _runner_class(cfg: Config) -> type[MaetoolRunner]:
    kind = find_part(cfg.get("runner_type") or "MaetoolRunner", RUNNERS)
    if not isinstance(kind, type) or not issubclass(kind, MaetoolRunner):
        raise UsageError(
            f"runner_type is {cfg.runner_type!r}, but maetool's commands run MaetoolRunner or a subclass: remove it, "
            "or build that runner in a script of your own."
        )
    return kind


def _check_pictures(runner: MaetoolRunner) -> None:
    target = getattr(runner.bare_model, "target", None)
    if not getattr(target, "invertible", True) and any(isinstance(hook, ReconstructionHook) for hook in runner.hooks):
        raise UsageError(
            f"The config draws reconstructions, but {type(target).__name__} cannot be turned back into pixels: take "
            "maetool::_base_/runtime/no_pictures.py as its runtime, or a pixel target."
        )


def _device(runner: MaetoolRunner) -> str:
    device = next(runner.model.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def refuse_to_overwrite(work_dir: str) -> None:
    """Keep an earlier run from being overwritten.

    Raises:
        UsageError: the folder holds checkpoints.
    """
    found = checkpoints_in(Path(work_dir))
    if found:
        raise UsageError(
            f"{work_dir} holds {found[0].name} of an earlier run: go on with it by --resume, "
            "or choose another folder with --work-dir."
        )


def load_model(cfg: Config, checkpoint: str) -> nn.Module:
    """Build the model of a config in evaluation mode, with all its weights from a checkpoint.

    Raises:
        UsageError: a checkpoint that cannot be read or is of another architecture.
    """
    prepare_config(cfg)
    model = MODELS.build(cfg.model)
    state = read_checkpoint(checkpoint)
    check_as_trained(model, state.get("meta"), checkpoint)
    load_weights(model, weights_of(state, checkpoint), checkpoint, config_file_of(state.get("meta"), checkpoint))
    return model.eval()


def build_dataset(cfg: Config, loader: str) -> Dataset:
    """Build the dataset of a completed config's loader, for example "val_dataloader"."""
    return DATASETS.build(cfg[loader].dataset)


def masks_of(
    path: str, runs: Mapping[str, Sequence[str]], data: str | None, max_pixels: int | None = None
) -> tuple[dict[str, nn.Module], Tensor, Any]:
    """Return the maskers of several changes of a config, some uint8 images (N, 3, H, W) for them, and the grid.

    Args:
        path: the config.
        runs: name to options.
        data: folder of images; drawn shapes without one.
        max_pixels: most pixels of an image in the folder; None for the default.

    Raises:
        UsageError: a change that is wrong, changes of the grid, or `max_pixels` without `data`.
    """
    if max_pixels and not data:
        raise UsageError("--max-pixels is for the images of --data, which is not given: leave it out.")
    configs = {name: load_config(path, options) for name, options in runs.items()}
    models = {}
    for name, cfg in configs.items():
        prepare_config(cfg)
        models[name] = MODELS.build({**cfg.model, "data_preprocessor": None})
    first = next(iter(models.values())).encoder
    if any(model.encoder.grid != first.grid for model in models.values()):
        raise UsageError("The runs have different grids: leave image size and patch size as they are.")
    shapes = {"type": "ShapesDataset", "num_samples": 8, "img_size": first.img_size}
    folder = {"type": "ImageFolderDataset", "root": data, "limit": 8, "max_pixels": chosen_limit(max_pixels)}
    folder["pipeline"] = [{"type": "ResizeCenterCrop", "size": first.img_size}]
    dataset = DATASETS.build(folder if data else shapes)
    images = torch.stack([dataset[i]["inputs"] for i in range(min(8, len(dataset)))])
    return {name: model.masker for name, model in models.items()}, images, first.grid
