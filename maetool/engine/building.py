"""Building the runner's parts: MMEngine's builders with maetool's checks, quiet startup and CPU support."""

import inspect
import logging
import warnings
from collections.abc import Mapping
from copy import deepcopy
from datetime import timedelta
from io import TextIOWrapper
from typing import Any

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor, MMDistributedDataParallel
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from mmengine.runner import Runner

from maetool.compat import keep_freed_memory
from maetool.config.facts import evaluation_loop
from maetool.config.values import tell_unmatched
from maetool.engine.optim.schedules import fit_to_loop
from maetool.engine.optim.wrapper import precision_of
from maetool.errors import UsageError
from maetool.evaluation.evaluator import build_evaluator
from maetool.messages import make_plain, tell_lost_lines_once
from maetool.parallel.blocks import checkpoint_blocks, checkpointing_of
from maetool.parallel.compiling import compile_model
from maetool.parallel.groups import ddp_options
from maetool.parallel.sharding import is_sharded, shard
from maetool.pretrained.initial import check_classes
from maetool.registry import LOOPS, MODELS, as_usage_error

from .hooks.best import with_rule
from .loaders import with_parts
from .saving import EarlyEndHook, check_checkpoint_hook
from .train_loop import renew_epochs

# Hooks that every run needs; they do nothing if the model has no such parts.
_NEEDED_HOOKS = ("TeacherHook", "MaskerProgressHook")
_TIMEOUT = 600  # seconds that a process waits for another one
_MMENGINES_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")


class BuildingRunner(Runner):
    """Builds model, loaders, optimiser, hooks and loops; `MaetoolRunner` adds what checkpoints need."""

    @property
    def bare_model(self) -> torch.nn.Module:
        """The model without the wrapper of several processes."""
        return getattr(self.model, "module", self.model)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> Any:
        """Build the logger under maetool's name: plain lines on the terminal, with times in the file."""
        logger = make_plain(super().build_logger(log_level, log_file, logger_name="maetool"))
        for handler in logger.handlers:  # names of files need not be UTF-8
            stream = getattr(handler, "stream", None)
            if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
            if isinstance(handler, logging.FileHandler):
                tell_lost_lines_once(handler)
        return logger

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        self._set_console_level(logging.WARNING)
        super()._log_env(env_cfg)

    def _set_console_level(self, level: int) -> None:
        for handler in self.logger.handlers:
            if type(handler) is logging.StreamHandler and self.rank == 0:
                handler.setLevel(level)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Start the process group with gloo if there is no CUDA; MMEngine would query CUDA devices.

        Raises:
            UsageError: the timeout is not a number of seconds above 0.
        """
        if not torch.cuda.is_available():
            keep_freed_memory()
        dist_cfg = {"timeout": _TIMEOUT, **(env_cfg.get("dist_cfg") or {})}
        _check_timeout(dist_cfg["timeout"])
        env_cfg = {**env_cfg, "dist_cfg": dist_cfg}
        if self.launcher == "pytorch" and not is_distributed() and not torch.cuda.is_available():
            dist.init_process_group("gloo", timeout=timedelta(seconds=dist_cfg["timeout"]))
        super().setup_env(env_cfg)

    def build_model(self, model: Any) -> torch.nn.Module:
        """Build the model with maetool's checks.

        Raises:
            UsageError: a model of maetool without a preprocessor that normalises its images.
        """
        built = MODELS.build(model)
        _check_preprocessor(built)
        return built

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: torch.nn.Module) -> torch.nn.Module:
        """Apply activation checkpointing and compilation, move the model to its device, and wrap it for DDP or FSDP."""
        sharded = bool(self.cfg.get("fsdp")) and self.distributed
        if names := checkpointing_of(self.cfg):
            number = checkpoint_blocks(model, names)
            self.logger.info("Recomputing the activations of %d modules in the backward pass.", number)
        if self.cfg.get("compile"):
            with as_usage_error("compile"):
                compiled = compile_model(model, self.cfg.compile, get_device(), sharded)
            self.logger.info("Compiling %s: the first iterations take longer.", compiled)
        if sharded:
            half = get_device() != "cpu" and precision_of(self.cfg.optim_wrapper) == "bfloat16"
            return shard(model.to(get_device()), torch.bfloat16 if half else None)
        with warnings.catch_warnings():  # MMEngine's argument broadcast_buffers, which torch has renamed
            warnings.simplefilter("ignore", FutureWarning)
            if self.distributed and not torch.cuda.is_available() and model_wrapper_cfg is None:
                return MMDistributedDataParallel(module=model, **ddp_options(self.cfg))
            if self.distributed and model_wrapper_cfg is None:
                model_wrapper_cfg = {"type": "MMDistributedDataParallel", **ddp_options(self.cfg)}
            with as_usage_error(f"model_wrapper_cfg {_shown(model_wrapper_cfg)}"):
                return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        """Broadcast the weights of rank 0 to all ranks; a sharded model already has them."""
        if names := self.cfg.get("efficient_conv_bn_eval"):
            _try_conv_bn(self.bare_model, names)
        if not is_sharded(self.model):
            super()._init_model_weights()

    def _maybe_compile(self, target: str) -> None:
        """Do nothing: MMEngine would compile the optimiser and the logging too; `wrap_model` compiles the blocks."""

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """Build a loader whose dataset and sampler are built with maetool's checks.

        Raises:
            UsageError: see `maetool.engine.loaders.with_parts`, or a value that torch's loader refuses.
        """
        if isinstance(dataloader, Mapping):
            dataloader = with_parts(dataloader)
        with as_usage_error("A loader of the config"):
            return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimiser wrapper.

        Raises:
            UsageError: MMEngine's mixed precision without an accelerator, or a value that the optimiser refuses.
        """
        for sentence in tell_unmatched(optim_wrapper, self.bare_model):
            self.logger.warning(sentence)
        kind, hint = _shown(optim_wrapper), "change the optimiser's arguments or paramwise_cfg"
        if "Amp" in kind:
            hint = "optim_wrapper.type=AutocastOptimWrapper trains in bfloat16 on CPUs too"
        with as_usage_error(f"optim_wrapper {kind}".strip(), hint):
            return super().build_optim_wrapper(optim_wrapper)

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: Any = None) -> None:
        """Scale the learning rate by `auto_scale_lr`."""
        with as_usage_error("auto_scale_lr"):
            super().scale_lr(optim_wrapper, auto_scale_lr)

    def build_log_processor(self, log_processor: Any) -> Any:
        """Build the log processor."""
        with as_usage_error(f"log_processor {_shown(log_processor)}".strip()):
            return super().build_log_processor(log_processor)

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """Build the visualizer and its backends."""
        with as_usage_error("The visualizer"):
            return super().build_visualizer(visualizer)

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> Any:
        scheduler = fit_to_loop(scheduler, self.train_loop)
        with as_usage_error("param_scheduler"):
            return super()._build_param_scheduler(scheduler, optim_wrapper)

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        """Register the hooks of the config, and those that the model's parts require."""
        defaults = (default_hooks or {}).items()
        defaults = {name: hook for name, hook in defaults if hook is not None or name in _MMENGINES_HOOKS}
        defaults = {"runtime_info": {"type": "ScalarsHook"}, **defaults}
        super().register_hooks(defaults, custom_hooks)
        savers = [hook for hook in self.hooks if isinstance(hook, CheckpointHook)]
        for hook in savers:
            check_checkpoint_hook(hook, self.work_dir)
        if savers:
            super().register_hook(EarlyEndHook())
        for name in _NEEDED_HOOKS:
            if name not in {type(hook).__name__ for hook in self.hooks}:
                self.register_hook({"type": name})

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register a hook; MMEngine's hooks that monitor a metric get their rule from maetool's table of metric names.

        Raises:
            UsageError: a value that the hook refuses.
        """
        with as_usage_error(f"The hook {hook}"):
            super().register_hook(with_rule(hook), priority)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call a method of all hooks; in `before_run`, some hooks build parts of their own.

        Raises:
            UsageError: a value that a hook refuses there.
        """
        if fn_name != "before_run":
            super().call_hook(fn_name, **kwargs)
            return
        for hook in self._hooks:
            with as_usage_error(f"What the hook {_shown(hook)} needs"):
                _check_copying(hook, self.bare_model)
                hook.before_run(self)

    def build_train_loop(self, loop: Any) -> Any:
        """Build the training loop, and check that its data has the classes of the model."""
        if isinstance(loop, Mapping):
            kinds = {None: "ResumableTrainLoop", True: "EpochBasedTrainLoop", False: "IterBasedTrainLoop"}
            given = {name: value for name, value in loop.items() if name != "by_epoch"}
            loop = {"type": kinds[loop.get("by_epoch")], **given}
            facts = {"runner": self, "dataloader": self._train_dataloader}
            with as_usage_error(f"train_cfg {_shown(loop)}"):
                loop = LOOPS.build(loop, default_args=facts)
        check_classes(self.bare_model, loop.dataloader.dataset)
        renew_epochs(loop)
        return loop

    def build_val_loop(self, loop: Any) -> Any:
        """Build the validation loop; MMEngine's `ValLoop` if the config has neither a type nor evaluators."""
        return self._build_evaluation(loop, "ValLoop", self._val_dataloader, self._val_evaluator)

    def build_test_loop(self, loop: Any) -> Any:
        """Build the test loop; MMEngine's `TestLoop` if the config has no type."""
        return self._build_evaluation(loop, "TestLoop", self._test_dataloader, self._test_evaluator)

    def _build_evaluation(self, loop: Any, default: str, dataloader: Any, evaluator: Any) -> Any:
        if not isinstance(loop, Mapping):
            return loop
        facts = {"runner": self, "dataloader": dataloader, "evaluator": build_evaluator(evaluator)}
        loop = evaluation_loop(loop, default)
        with as_usage_error(f"The evaluation loop {_shown(loop)}"):
            return LOOPS.build(loop, default_args=facts)


def _check_copying(hook: Hook, model: torch.nn.Module) -> None:
    """Check that a hook does not copy a sharded model.

    Raises:
        UsageError: it does.
    """
    if isinstance(hook, EMAHook) and is_sharded(model):
        raise UsageError(
            "EMAHook copies the model, but fsdp=True splits it over the processes, and parts cannot be copied: set "
            "fsdp=False, or remove EMAHook from the hooks."
        )


def _try_conv_bn(model: torch.nn.Module, names: Any) -> None:
    """Check that MMEngine will be able to trace the modules.

    Raises:
        UsageError: a module does not exist, or cannot be traced.
    """
    try:
        turn_on_efficient_conv_bn_eval(deepcopy(model), names)
    except Exception as error:  # tracing raises anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"efficient_conv_bn_eval={names!r} does not fit {type(model).__name__} ({reason}): name modules of "
            "convolutions and batch normalisation, or remove it."
        ) from error


def _check_preprocessor(model: torch.nn.Module) -> None:
    """Check that a model whose `forward` takes `images` has a preprocessor that makes them from `inputs`.

    Raises:
        UsageError: it has MMEngine's default data preprocessor, which does not change the batch.
    """
    taken = inspect.signature(model.forward).parameters
    plain = type(getattr(model, "data_preprocessor", None)) in (BaseDataPreprocessor, ImgDataPreprocessor)
    if plain and "images" in taken and "inputs" not in taken:
        raise UsageError(
            f"{type(model).__name__} takes normalised `images`, but the config has no data_preprocessor that makes "
            'them: add data_preprocessor=dict(type="ImagePreprocessor") to the model, with mean and std of your images.'
        )


def _check_timeout(timeout: Any) -> None:
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 < timeout < 1e9:
        raise UsageError(f"env_cfg.dist_cfg.timeout is {timeout!r}, but must be a number of seconds, such as 600.")


def _shown(part: object) -> str:
    """Return the name of a part's type: from its config, or else from the object; empty if the config has none."""
    kind = part.get("type", "") if isinstance(part, Mapping) else type(part)
    return getattr(kind, "__name__", str(kind))
