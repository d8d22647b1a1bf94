"""Builds a runner, a model or a dataset from a config; the commands call this."""

from pathlib import Path

import torch
from mmengine import Config

from maetool._deprecated import moved
from maetool.config.prepare import prepare_run
from maetool.config.user_data import use_data
from maetool.engine.optim.wrapper import precision_of
from maetool.errors import UsageError
from maetool.messages import plural
from maetool.metadata.provenance import versions
from maetool.protocols import MapDataset
from maetool.registry import DATASETS, RUNNERS, find_part
from maetool.weights.work_dir import checkpoints_in
from maetool.writing import check_folder

from .hooks import ReconstructionHook
from .runner import MaetoolRunner

__all__ = [
    "build_dataset",
    "build_runner",
    "drop_missing_validation",
    "need_training",
    "need_validation",
    "refuse_to_overwrite",
    "use_data",
]


def drop_missing_validation(cfg: Config) -> str | None:
    """Switch validation off in `cfg` if its data folder does not exist; return a sentence that says so, or None."""
    root = cfg.val_dataloader.dataset.get("root") if cfg.get("val_dataloader") else None
    if root is None or Path(root).exists():
        return None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    return f"No validation: there is no {root}. Set val_dataloader.dataset.root to validate."


def need_validation(cfg: Config) -> Config:
    """Return `cfg`, after checking that it has validation data.

    Raises:
        UsageError: it has none.
    """
    if not cfg.get("val_dataloader"):
        raise UsageError("The config has no val_dataloader: pass images with --data FOLDER, or add one.")
    return cfg


def need_training(cfg: Config) -> Config:
    """Return `cfg`, after checking that it defines a training.

    Raises:
        UsageError: it defines an evaluation only.
    """
    if cfg.get("train_dataloader") is None and cfg.get("train_cfg") is None:
        path = cfg.filename or "CONFIG"
        raise UsageError(
            f"{path} defines an evaluation and no training: run maetool test {path} CHECKPOINT, with the same --data, "
            "--work-dir and --cfg-options."
        )
    return cfg


def build_runner(cfg: Config) -> MaetoolRunner:
    """Check and complete the config `cfg`, and build its runner.

    Raises:
        UsageError: any mistake in the config.
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
            precision_of(cfg.get("optim_wrapper") or {}),
        ),
    )
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    runner.logger.info("%s; seed %d, %s.", packages, runner.seed, plural(runner.world_size, "process"))
    return runner


def _runner_class(cfg: Config) -> type[MaetoolRunner]:
    kind = find_part(cfg.get("runner_type") or "MaetoolRunner", RUNNERS)
    if not isinstance(kind, type) or not issubclass(kind, MaetoolRunner):
        raise UsageError(
            f"runner_type is {cfg.runner_type!r}, but maetool's commands run MaetoolRunner or a subclass: remove it, "
            "or build that runner in your own script."
        )
    return kind


def _check_pictures(runner: MaetoolRunner) -> None:
    target = getattr(runner.bare_model, "target", None)
    draws = any(isinstance(hook, ReconstructionHook) for hook in runner.hooks)
    draws = draws and hasattr(runner.bare_model, "reconstruct")  # of other models the hook draws nothing
    if draws and not getattr(target, "invertible", True):
        raise UsageError(
            f"The config draws reconstructions, but {type(target).__name__} cannot be turned back into pixels: "
            "remove the hook (custom_hooks = dict(pictures=None) with maetool's runtime), or choose a pixel target."
        )
    streams = getattr(getattr(runner.bare_model, "encoder", None), "streams", None)
    if draws and streams is not None:
        raise UsageError(
            f"The config draws reconstructions, which need one stream of images or clips, but the encoder reads "
            f"{', '.join(streams)}: remove the hook, custom_hooks = dict(pictures=None) with maetool's runtime."
        )


def _device(runner: MaetoolRunner) -> str:
    device = next(runner.model.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def refuse_to_overwrite(work_dir: str) -> None:
    """Refuse to overwrite an earlier run in the folder `work_dir`.

    Raises:
        UsageError: the folder holds checkpoints.
    """
    checkpoints = checkpoints_in(Path(work_dir))
    if checkpoints:
        raise UsageError(
            f"{work_dir} holds {checkpoints[0].name} of an earlier run: continue it with --resume, "
            "or choose another folder with --work-dir."
        )


def build_dataset(cfg: Config, loader: str) -> MapDataset:
    """Build the dataset of a loader of a completed config.

    Args:
        cfg: the config.
        loader: its key, such as "val_dataloader".
    """
    return DATASETS.build(cfg[loader].dataset)


__getattr__ = moved(
    __name__,
    {"load_model": "maetool.pretrained.model.load_model", "masks_of": "maetool.commands.browse_masks.masks_of"},
    "0.3.0",
)
