"""MMEngine's runner with safe checkpoints, a quiet start, and process groups that work without CUDA."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from maetool.compat import keep_freed_memory
from maetool.errors import UsageError
from maetool.models import start_parts
from maetool.registry import LOOPS, MODELS

from .blocks import checkpoint_blocks, checkpointing_of, compile_blocks
from .checkpoint import load_weights, newest_readable, read_checkpoint, weights_of
from .evaluator import build_evaluator
from .initial import check_classes, load_initial
from .loaders import with_parts
from .loops import enter_loop, renew_epochs
from .saving import check_checkpoint_hook, check_local, save
from .schedules import fit_to_loop
from .sharding import full_weights, is_sharded, read_on_first, shard
from .state import check_resumable, restore

# What must move with training, whatever hooks a config lists; without such parts in the model they do nothing.
_NEEDED_HOOKS = ("TeacherHook", "MaskerProgressHook")
_MMENGINES_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")


@RUNNERS.register_module()
class MaetoolRunner(Runner):
    """The runner of every maetool config; `build_runner` in `maetool.engine.launch` makes one from a config."""

    rate = ""  # the sentence on the learning rate, which training begins with
    stopped = ""  # why training ended before its time; empty if it did not
    saved_on_stop = False  # whether the last iteration before that is in a checkpoint
    last_saved = (-1, "")  # iterations that are over in the last checkpoint that can be resumed, and its name
    loaded_classes: Sequence[str] = ()  # those that a loaded checkpoint was trained on

    @classmethod
    def from_cfg(cls, cfg: Any) -> "MaetoolRunner":
        """Build the runner; environment, config and hooks go to the log file only, not to the terminal."""
        for stage in ("val", "test"):  # MMEngine wants all three or none; a loop of ours needs no evaluator
            loader = cfg.get(f"{stage}_dataloader")
            for name, default in (("cfg", {}), ("evaluator", [])):
                if not loader or cfg.get(f"{stage}_{name}") is None:
                    cfg[f"{stage}_{name}"] = default if loader else None
        runner = super().from_cfg(cfg)
        runner._set_console_level(logging.INFO)
        return runner

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> Any:
        """Build the logger under maetool's name."""
        return super().build_logger(log_level, log_file, logger_name="maetool")

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        self._set_console_level(logging.WARNING)
        super()._log_env(env_cfg)

    def _set_console_level(self, level: int) -> None:
        for handler in self.logger.handlers:
            if type(handler) is logging.StreamHandler and self.rank == 0:
                handler.setLevel(level)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Start the process group with gloo where there is no CUDA; MMEngine would ask CUDA for its devices."""
        if not torch.cuda.is_available():
            keep_freed_memory()
        if self.launcher == "pytorch" and not is_distributed() and not torch.cuda.is_available():
            dist.init_process_group("gloo")
        super().setup_env(env_cfg)

    def build_model(self, model: Any) -> torch.nn.Module:
        """Build the model with maetool's checks."""
        return MODELS.build(model)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: torch.nn.Module) -> torch.nn.Module:
        """Switch on what the config asks of the blocks, move the model to its device, and join the processes."""
        if names := checkpointing_of(self.cfg):
            number = checkpoint_blocks(model, names)
            self.logger.info("Recomputing the activations of %d modules in the backward pass.", number)
        if self.cfg.get("compile"):
            number = compile_blocks(model, self.cfg.compile)
            self.logger.info("Compiling %d blocks: the first iterations take longer.", number)
        if self.cfg.get("fsdp") and self.distributed:
            return shard(model.to(get_device()))
        with warnings.catch_warnings():  # MMEngine's argument broadcast_buffers, which torch gave another name
            warnings.simplefilter("ignore", FutureWarning)
            if self.distributed and not torch.cuda.is_available() and model_wrapper_cfg is None:
                return MMDistributedDataParallel(module=model, broadcast_buffers=False)
            return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        """Give all processes the weights of the first; sharding has seen to that already."""
        if not is_sharded(self.model):
            super()._init_model_weights()

    def _maybe_compile(self, target: str) -> None:
        """Nothing: MMEngine would compile the optimiser and the logging too; see `wrap_model`."""

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """Build a loader whose dataset and sampler are built with maetool's checks.

        Raises:
            UsageError: see `maetool.engine.loaders.with_parts`.
        """
        if isinstance(dataloader, Mapping):
            dataloader = with_parts(dataloader)
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimiser wrapper.

        Raises:
            UsageError: MMEngine's mixed precision where there is no accelerator.
        """
        try:
            return super().build_optim_wrapper(optim_wrapper)
        except AssertionError as error:
            raise UsageError(
                f"The optimiser wrapper cannot be built ({error}): optim_wrapper.type=AutocastOptimWrapper trains in "
                "bfloat16 on CPUs too."
            ) from error

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> Any:
        return super()._build_param_scheduler(fit_to_loop(scheduler, self.train_loop), optim_wrapper)

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        """Register the hooks of the config, and those that parts of the model cannot do without."""
        stated = (default_hooks or {}).items()
        stated = {name: hook for name, hook in stated if hook is not None or name in _MMENGINES_HOOKS}
        super().register_hooks(stated, custom_hooks)
        for hook in self.hooks:
            if isinstance(hook, CheckpointHook):
                check_checkpoint_hook(hook)
        for name in _NEEDED_HOOKS:
            if name not in {type(hook).__name__ for hook in self.hooks}:
                self.register_hook({"type": name})

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register a hook.

        Raises:
            UsageError: a value that the hook refuses.
        """
        try:
            super().register_hook(hook, priority)
        except UsageError:
            raise
        except (AssertionError, ValueError) as error:  # how MMEngine's hooks refuse
            raise UsageError(f"The hook {hook} cannot be built: {error}.") from error

    def build_train_loop(self, loop: Any) -> Any:
        """Build the training loop, whose data must have the classes of the model."""
        if isinstance(loop, Mapping):
            kinds = {None: "ResumableTrainLoop", True: "EpochBasedTrainLoop", False: "IterBasedTrainLoop"}
            given = {name: value for name, value in loop.items() if name != "by_epoch"}
            loop = {"type": kinds[loop.get("by_epoch")], **given}
            loop = LOOPS.build(loop, default_args={"runner": self, "dataloader": self._train_dataloader})
        check_classes(self.bare_model, loop.dataloader.dataset)
        renew_epochs(loop)
        return loop

    def build_val_loop(self, loop: Any) -> Any:
        """Build the validation loop; MMEngine's `ValLoop` where the config names none."""
        return self._build_evaluation(loop, "ValLoop", self._val_dataloader, self._val_evaluator)

    def build_test_loop(self, loop: Any) -> Any:
        """Build the test loop; MMEngine's `TestLoop` where the config names none."""
        return self._build_evaluation(loop, "TestLoop", self._test_dataloader, self._test_evaluator)

    def _build_evaluation(self, loop: Any, default: str, dataloader: Any, evaluator: Any) -> Any:
        if not isinstance(loop, Mapping):
            return loop
        facts = {"runner": self, "dataloader": dataloader, "evaluator": build_evaluator(evaluator)}
        return LOOPS.build({"type": default, **loop}, default_args=facts)

    def val(self) -> dict[str, Any]:
        """Validate; hooks that save the best checkpoint or end training rest meanwhile."""
        hooks, resting = self._hooks, (CheckpointHook, EarlyStoppingHook)
        self._hooks = [hook for hook in hooks if not isinstance(hook, resting)]
        try:
            return super().val()
        finally:
            self._hooks = hooks

    @property
    def trained_classes(self) -> Sequence[str]:
        """Names of the classes that the model is or was trained on; empty where nothing says so."""
        training = not isinstance(self._train_loop, Mapping | None)
        return getattr(self.train_dataloader.dataset, "classes", ()) if training else self.loaded_classes

    @cached_property
    def config_text(self) -> str:
        """The whole config as Python; made once, because MMEngine's formatting takes seconds where paths are long."""
        return self.cfg.pretty_text

    @property
    def bare_model(self) -> torch.nn.Module:
        """The model without the wrapper of several processes."""
        return getattr(self.model, "module", self.model)

    def whole_weights(self, everywhere: bool = False) -> dict[str, Any]:
        """Return the model's state dict, see `maetool.engine.sharding.full_weights`; all processes call it together."""
        return full_weights(self.bare_model, everywhere)

    def load_or_resume(self) -> None:
        """Load weights, or go on from a checkpoint: from the newest readable one where none was named."""
        if self._resume and self._load_from is None and not self._has_loaded:
            # One process decides: on a network file system the others may see other files.
            found = [newest_readable(Path(self.work_dir), self.logger.warning) if is_main_process() else None]
            broadcast_object_list(found)
            if found[0] is None:
                self.logger.info("Nothing to resume in %s: starting from the beginning.", self.work_dir)
                self._resume = False
            else:
                self._load_from = str(found[0])
        if self._load_from is None and not self._has_loaded:
            self._load_initial()
        super().load_or_resume()

    def _load_initial(self) -> None:
        """Begin with the encoder that the config names, where it names one."""
        path = self.cfg.get("init_from")
        if path is not None:
            report = load_initial(
                self.bare_model, path, self.cfg.get("init_share", 0.99), self.cfg.get("init_adapt", ())
            )
            self.call_hook("after_load_checkpoint", checkpoint={"state_dict": self.whole_weights()})
            self.logger.info("The model begins with %s. %s", path, report)
            self._has_loaded = True
            return
        start_parts(self.bare_model)
        if hasattr(self.bare_model, "num_classes"):
            self.logger.info("The encoder begins with random weights; --init CHECKPOINT gives it pretrained ones.")

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Any = None
    ) -> dict[str, Any]:
        """Load the weights of a checkpoint and return all that it holds.

        Raises:
            UsageError: see `read_checkpoint` and `load_weights`; a checkpoint of ours is needed to resume.
        """
        checkpoint = self._on_first(lambda: read_checkpoint(filename, map_location))
        if self._resume:
            check_resumable(self, checkpoint, filename)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        weights = self._on_first(lambda: weights_of(checkpoint, filename))  # after the hooks, which may exchange them
        load_weights(self.bare_model, weights, filename)
        self._has_loaded = True
        if not self._resume:
            start_parts(self.bare_model, weights)
        self.loaded_classes = checkpoint.get("meta", {}).get("dataset_meta", {}).get("classes", ())
        what = "Weights, optimiser state and position in the data" if self._resume else "Only the weights"
        options = "; all options are the config's" if self._resume else ""
        self.logger.info(f"{what} come from {filename}{options}.")
        return checkpoint

    def _on_first(self, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what `read` gives; where the model is sharded, only the first process calls it."""
        return read_on_first(read) if is_sharded(self.bare_model) else read()

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Go on from a checkpoint exactly where it was written, and log what the config has changed since.

        Raises:
            UsageError: see `load_checkpoint` and `maetool.engine.state.position`.
        """
        for line in restore(self, self.load_checkpoint(filename)):
            self.logger.info(line)
        enter_loop(self.train_loop)

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: Any = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: Any = None,
    ) -> None:
        """Write a checkpoint; see `maetool.engine.saving.save`. The signature is that of MMEngine's runner.

        Args:
            out_dir, filename: where.
            file_client_args, backend_args: None, or those of the local disk.
            save_optimizer, save_param_scheduler: without either, the checkpoint holds weights alone.
            meta: `epoch` and `iter`, how many of each are over, and whatever else the checkpoint shall tell.
            by_epoch: without these two: the epoch in progress, and not just the iteration, is over.

        Raises:
            UsageError: the file cannot be written, or is not on a local disk.
        """
        check_local(out_dir, file_client_args or backend_args)
        done = (
            {"epoch": self.epoch + 1, "iter": self.iter} if by_epoch else {"epoch": self.epoch, "iter": self.iter + 1}
        )
        save(self, Path(out_dir) / filename, {**done, **(meta or {})}, save_optimizer and save_param_scheduler)
