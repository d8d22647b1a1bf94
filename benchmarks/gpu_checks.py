"""Checks on a GPU: nothing waits for it, and results are those of a CPU and those of an uninterrupted run."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from torch import Tensor

from maetool.config.load import load_for
from maetool.data.transforms.on_device import ResizeOnDevice, finish_on_device
from maetool.engine.launch import build_runner
from maetool.engine.optim.param_groups import decay_groups
from maetool.engine.optim.precision import Precision
from maetool.engine.optim.steps import settle
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.maskers import BlockMasker, RandomMasker
from maetool.ops.random import sample_keys
from maetool.registry import MODELS
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_model
from maetool.weights.formats.mae import from_published
from maetool.weights.read import read_checkpoint

from .step import device

_RUN = ["train_dataloader.batch_size=8", "train_dataloader.dataset.num_samples=48"]
_QUIET = ["runtime_info={'type':'ScalarsHook','read_every':99}", "logger.interval=99", "checkpoint=None"]
_QUIET = [f"default_hooks.{each}" for each in _QUIET]
_GOLDEN = Path(__file__).parents[1] / "tests" / "data" / "mae_norm_pixel.npz"
_GOLDEN_MODEL = {
    "type": "MaskedImageModel",
    "masker": {"type": "RandomMasker", "mask_ratio": 0.75},
    "encoder": {
        **{"type": "VisionTransformer", "img_size": 32, "patch_size": 8},
        **{"embed_dim": 48, "depth": 2, "num_heads": 3},
    },
    "decoder": {"type": "TransformerDecoder", "embed_dim": 32, "depth": 2, "num_heads": 4},
    "target": {"type": "PixelTarget", "norm_pix_loss": True},
    "head": {"type": "RegressionHead"},
}


def ten_steps_without_a_wait() -> str:
    """Make ten complete steps in each precision, in float16 with a loss scale; CUDA raises where one waits for it."""
    if device() == "cpu":
        return "skipped: a CPU is never waited for"
    for precision in ("float32", "bfloat16", "float16"):
        model, wrapper, batches = _tiny(deferred=True, precision=precision)
        _train(model, wrapper, batches[:2])  # builds kernels, and the optimiser's state
        _raise_at_waits(True)
        try:
            _train(model, wrapper, batches[:10])
        finally:
            _raise_at_waits(False)
    return "passed"


def losses_are_those_of_a_CPU() -> str:
    """Compare the losses of six steps in float32 with those of a CPU."""
    losses = {}
    for place in ("cpu", device()):
        model, wrapper, batches = _tiny(place=place)
        losses[place] = _train(model, wrapper, batches[:6])
    largest = max(abs(a - b) / abs(a) for a, b in zip(losses["cpu"], losses[device()], strict=True))
    return f"{'passed' if largest < 1e-3 else 'FAILED'}: relative difference at most {largest:.1e}"


def losses_are_the_published_ones() -> str:
    """Compute the loss that the published code of MAE gives for weights, images and masks of a file, in float32."""
    if not _GOLDEN.is_file():
        return f"skipped: there is no {_GOLDEN.name}, which a checkout has"
    golden = {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(_GOLDEN).items()}
    state = {name.removeprefix("state/"): value for name, value in golden.items() if name.startswith("state/")}
    model = MODELS.build(_GOLDEN_MODEL)
    model.load_state_dict(from_published(state), strict=False)
    plan = MaskPlan.from_scores(golden["noise"].to(device()), num_keep=4, grid=(4, 4))
    loss = model.to(device())(golden["imgs"].to(device()), plan=plan)["loss"].item()
    difference = abs(loss / golden["loss"].item() - 1)
    return f"{'passed' if difference < 1e-4 else 'FAILED'}: relative difference {difference:.1e}"


def a_resume_is_exact() -> str:
    """Train six iterations, and four and two with a checkpoint in between; all tensors must be equal to the bit."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            ends = _unbroken_and_resumed(Path(folder))
    finally:
        torch.use_deterministic_algorithms(False)
    pairs = list(zip(*(_tensors([end["state_dict"], end["optimizer"]]) for end in ends), strict=True))
    differing = sum(not torch.equal(*pair) for pair in pairs)
    return f"FAILED: {differing} of {len(pairs)} tensors differ" if differing else f"passed: {len(pairs)} tensors"


def a_broken_step_changes_nothing() -> str:
    """Put an infinite pixel into one batch: its step is left out on the device, and reported."""
    model, wrapper, batches = _tiny()
    _train(model, wrapper, batches[:2])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    broken = {**batches[2], "inputs": batches[2]["inputs"].float().fill_(torch.inf)}
    _train(model, wrapper, [broken])
    same = all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))
    return "passed" if same and wrapper.skipped == 1 and wrapper.fault else "FAILED"


def _tiny(
    deferred: bool | None = None, place: str | None = None, precision: Precision = "float32"
) -> tuple[Any, AutocastOptimWrapper, list[Any]]:
    place = place or device()
    model = tiny_model().to(place).train()
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-3, weight_decay=0.05)
    wrapper = AutocastOptimWrapper(optimizer, precision, clip_grad={"max_norm": 1.0}, deferred=deferred)
    batch = tiny_batch()
    pinned = torch.cuda.is_available()
    batches = [
        {name: (x.pin_memory() if pinned else x) for name, x in {**batch, "key": batch["key"] + i}.items()}
        for i in range(12)
    ]
    return model, wrapper, batches


def _train(model: Any, wrapper: AutocastOptimWrapper, batches: Sequence[Any]) -> list[float]:
    losses = [model.train_step(dict(batch), wrapper)["loss"].detach() for batch in batches]
    if torch.cuda.is_available() and torch.cuda.get_sync_debug_mode():
        return []
    settle(wrapper)
    return torch.stack(losses).tolist()


class _NoWaits(Hook):
    """Lets CUDA raise where one of ten iterations of a run waits for it."""

    priority = "LOWEST"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 1:  # the first one builds kernels and is reported
            _raise_at_waits(True)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == 10:
            _raise_at_waits(False)


def _raise_at_waits(on: bool) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("error" if on else "default")


class _StoppedError(Exception):
    """A run is stopped on purpose."""


class _Stop(Hook):
    """Ends a run after four iterations, in the midst of its second epoch."""

    priority = "LOWEST"

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter + 1 == 4:
            raise _StoppedError


def _unbroken_and_resumed(folder: Path) -> list[dict[str, Any]]:
    """Return the last checkpoints of a run, and of one that was stopped and resumed."""
    unbroken, resumed = folder / "unbroken", folder / "resumed"
    _deterministic_run(unbroken).train()
    stopped = _deterministic_run(resumed)
    stopped.register_hook(_Stop())
    with suppress(_StoppedError):
        stopped.train()
    if not (resumed / "iter_4.pth").is_file():
        raise RuntimeError("the run that was stopped wrote no checkpoint")
    _deterministic_run(resumed, resume=True).train()
    return [read_checkpoint(each / "epoch_2.pth") for each in (unbroken, resumed)]


def _deterministic_run(folder: Path, resume: bool = False) -> Any:
    short = ["train_dataloader.dataset.num_samples=24", "train_cfg.max_epochs=2", "randomness.deterministic=True"]
    return _runner(folder, [*_RUN, *short, "default_hooks.checkpoint.every_n_iters=2"], resume)


def _runner(folder: str | Path, options: Sequence[str], resume: bool = False) -> Any:
    cfg, _ = load_for("maetool::mae/vit-t_shapes.py", [*options, "custom_hooks.pictures=None"], None)
    cfg.work_dir, cfg.resume = str(folder), resume
    cfg.val_dataloader, cfg.val_cfg, cfg.val_evaluator = None, None, None
    cfg.pop("effective_batch_size", None)
    return build_runner(cfg)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    several = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for each in several for tensor in _tensors(each)]


def ten_iterations_of_a_run_without_a_wait() -> str:
    """Train by the real loop, with its hooks, loader and guard; CUDA raises where an iteration waits for it."""
    with tempfile.TemporaryDirectory() as folder:
        runner = _runner(folder, [*_RUN, *_QUIET, "train_cfg.max_epochs=2"])
        runner.register_hook(_NoWaits())
        try:
            runner.train()
        finally:
            _raise_at_waits(False)
        if device() == "cpu":
            return "skipped: a CPU is never waited for"
        return "passed" if runner.iter > 10 else f"FAILED: only {runner.iter} iterations"


def masks_are_those_of_a_CPU() -> str:
    """Compare the plans that the same keys give; they are integers, and must be equal."""
    keys = sample_keys(0, 0, torch.arange(64))
    for masker in (RandomMasker(), BlockMasker()):
        plans = [masker(torch.zeros(64, 1, device=place), (14, 14), keys=keys.to(place)) for place in ("cpu", device())]
        if not torch.equal(plans[0].mask, plans[1].mask.cpu()):
            return f"FAILED: those of {type(masker).__name__} differ"
    return "passed"


def resized_images_are_those_of_a_CPU() -> str:
    """Compare what `ResizeOnDevice` leaves to the device; rounding may differ by one grey level."""
    part = ResizeOnDevice(64, [{"type": "RandomResizedCrop"}, {"type": "RandomHorizontalFlip"}])
    generator = torch.Generator().manual_seed(0)
    photographs = [torch.randint(256, (3, 90, 70 + i), dtype=torch.uint8, generator=generator) for i in range(8)]
    with torch.random.fork_rng(devices=[]):
        samples = [part(photograph) for photograph in photographs]
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    one, other = (finish_on_device({k: v.to(place) for k, v in batch.items()}).cpu() for place in ("cpu", device()))
    largest = (one - other).abs().max().item()
    return f"{'passed' if largest <= 1 else 'FAILED'}: they differ by at most {largest:.0f} grey levels"


CHECKS = (
    ten_steps_without_a_wait,
    ten_iterations_of_a_run_without_a_wait,
    losses_are_the_published_ones,
    losses_are_those_of_a_CPU,
    masks_are_those_of_a_CPU,
    resized_images_are_those_of_a_CPU,
    a_resume_is_exact,
    a_broken_step_changes_nothing,
)
