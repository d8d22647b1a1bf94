"""From a config to a runner, a model or a dataset: what the tools call."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from mmengine import Config
from torch import Tensor, nn
from torch.utils.data import Dataset

from maetool.errors import UsageError
from maetool.registry import DATASETS, MODELS

from .checkpoint import checkpoints_in, load_weights, read_checkpoint, weights_of
from .config import complete_config, load_config
from .config_checks import check_config
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

# Where each launcher says how many processes there are.
_PROCESSES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}


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
    check_config(cfg)
    rate = complete_config(cfg, _number_of_processes(cfg.get("launcher", "none")))
    if not cfg.get("val_dataloader"):
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    # MMEngine shares logger and histories between runners of one name, and its own names repeat within a second.
    cfg.setdefault("experiment_name", f"{Path(cfg.work_dir).name}_{uuid4().hex[:8]}")
    runner = MaetoolRunner.from_cfg(cfg)
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
    runner.rate = rate
    return runner


def _number_of_processes(launcher: str) -> int:
    if launcher == "none" and "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but the launcher is none, so that each would "
            "train alone and write over the others' files: add --launcher pytorch."
        )
    return int(os.environ.get(_PROCESSES.get(launcher, ""), "1"))


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
    check_config(cfg)
    complete_config(cfg)
    model = MODELS.build(cfg.model)
    load_weights(model, weights_of(read_checkpoint(checkpoint), checkpoint), checkpoint)
    return model.eval()


def build_dataset(cfg: Config, loader: str) -> Dataset:
    """Build the dataset of a completed config's loader, for example "val_dataloader"."""
    return DATASETS.build(cfg[loader].dataset)


def masks_of(
    path: str, runs: Mapping[str, Sequence[str]], data: str | None
) -> tuple[dict[str, nn.Module], Tensor, Any]:
    """Return the maskers of several changes of a config, some uint8 images (N, 3, H, W) for them, and the grid.

    Args:
        path: the config.
        runs: name to options.
        data: folder of images; drawn shapes without one.

    Raises:
        UsageError: a change that is wrong, or changes of the grid.
    """
    configs = {name: load_config(path, options) for name, options in runs.items()}
    models = {}
    for name, cfg in configs.items():
        check_config(cfg)
        complete_config(cfg)
        models[name] = MODELS.build({**cfg.model, "data_preprocessor": None})
    first = next(iter(models.values())).encoder
    if any(model.encoder.grid != first.grid for model in models.values()):
        raise UsageError("The runs have different grids: leave image size and patch size as they are.")
    shapes = {"type": "ShapesDataset", "num_samples": 8, "img_size": first.img_size}
    folder = {"type": "ImageFolderDataset", "root": data, "limit": 8}
    folder["pipeline"] = [{"type": "ResizeCenterCrop", "size": first.img_size}]
    dataset = DATASETS.build(folder if data else shapes)
    images = torch.stack([dataset[i]["inputs"] for i in range(min(8, len(dataset)))])
    return {name: model.masker for name, model in models.items()}, images, first.grid
