"""MMEngine's runner with safe checkpoints, a quiet start, and process groups that work without CUDA."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine import Config
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, get_world_size, is_distributed, is_main_process
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from maetool.compat import keep_freed_memory
from maetool.errors import UsageError
from maetool.registry import DATASETS, LOOPS, MODELS

from .blocks import checkpoint_blocks, compile_blocks
from .checkpoint import (
    load_weights,
    newest_readable,
    read_checkpoint,
    save_as_last,
    weights_of,
    write_checkpoint,
)
from .config_prepare import prepare_run
from .config_stored import stored_facts
from .initial import check_classes, load_initial
from .sharding import is_sharded, shard, whole
from .state import check_resumable, restore, training_state
from .stopping import shielded


@RUNNERS.register_module()
class MaetoolRunner(Runner):
    """The runner of every maetool config; `build_runner` in `maetool.engine.launch` makes one from a config."""

    rate = ""  # the sentence on the learning rate, which training begins with
    stopped = ""  # why training ended before its time; empty if it did not
    loaded_classes: Sequence[str] = ()  # those that a loaded checkpoint was trained on

    @classmethod
    def from_cfg(cls, cfg: Any) -> "MaetoolRunner":
        """Check and complete a config and build its runner; `cfg` stays as it is.

        Environment, config and hooks go to the log file only, not to the terminal.

        Raises:
            UsageError: anything in the config that a person got wrong.
        """
        cfg = deepcopy(cfg) if isinstance(cfg, Config) else Config(dict(cfg))
        rate = prepare_run(cfg)
        runner = super().from_cfg(cfg)
        runner.rate = rate
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
        if self.cfg.get("gradient_checkpointing"):
            self.logger.info("Recomputing the activations of %d blocks in the backward pass.", checkpoint_blocks(model))
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
        """Build a loader whose dataset is built with maetool's checks.

        Raises:
            UsageError: fewer samples than one batch of all processes.
        """
        if isinstance(dataloader, Mapping):
            dataset = DATASETS.build(dataloader["dataset"])
            world, batch = get_world_size(), dataloader["batch_size"]
            if dataloader.get("drop_last") and len(dataset) < batch * world:
                raise UsageError(
                    f"The training data holds {len(dataset)} images, fewer than one batch of {batch * world}: "
                    f"set train_dataloader.batch_size to at most {max(1, len(dataset) // world)}."
                )
            dataloader = {**shielded(dataloader), "dataset": dataset}
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_train_loop(self, loop: Any) -> Any:
        """Build the training loop, whose data must have the classes of the model."""
        built = super().build_train_loop(loop)
        check_classes(self.bare_model, built.dataloader.dataset)
        return built

    def build_val_loop(self, loop: Any) -> Any:
        """Build the validation loop, handing it only what it takes."""
        facts = {"runner": self, "dataloader": self._val_dataloader, "evaluator": self._val_evaluator}
        return LOOPS.build(loop, default_args=facts)

    @property
    def trained_classes(self) -> Sequence[str]:
        """Names of the classes that the model is or was trained on; empty where nothing says so."""
        training = not isinstance(self._train_loop, Mapping | None)
        return getattr(self.train_dataloader.dataset, "classes", ()) if training else self.loaded_classes

    @cached_property
    def config_facts(self) -> dict[str, str]:
        """The whole config for `meta` of a checkpoint; made once, because MMEngine's formatting takes seconds."""
        return stored_facts(self.cfg)

    @property
    def bare_model(self) -> torch.nn.Module:
        """The model without the wrapper of several processes."""
        return getattr(self.model, "module", self.model)

    def whole_weights(self) -> dict[str, Any]:
        """Return the model's state dict, gathered where it is sharded; all processes must call it together."""
        return whole(self.bare_model.state_dict())

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
        elif hasattr(self.bare_model, "num_classes"):
            self.logger.info("The encoder begins with random weights; --init CHECKPOINT gives it pretrained ones.")

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Any = None
    ) -> dict[str, Any]:
        """Load the weights of a checkpoint and return all that it holds.

        Raises:
            UsageError: see `read_checkpoint` and `load_weights`; a checkpoint of ours is needed to resume.
        """
        checkpoint = read_checkpoint(filename, map_location)
        if self._resume:
            check_resumable(self, checkpoint, filename)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self.bare_model, weights_of(checkpoint, filename), filename)
        self._has_loaded = True
        self.loaded_classes = checkpoint.get("meta", {}).get("dataset_meta", {}).get("classes", ())
        what = "Weights, optimiser, schedule and position in the data" if self._resume else "Only the weights"
        self.logger.info("%s come from %s.", what, filename)
        return checkpoint

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Go on from a checkpoint exactly where it was written.

        Raises:
            UsageError: see `load_checkpoint` and `maetool.engine.state.position`.
        """
        restore(self, self.load_checkpoint(filename))

    def save_checkpoint(self, path: Path, epoch: int, iteration: int) -> None:
        """Write everything that training needs to go on, and let the pointer name it; all processes must call together.

        Args:
            path: the file.
            epoch, iteration: how many of each are over.

        Raises:
            UsageError: the file cannot be written.
        """
        state, failure = training_state(self, epoch, iteration), [""]
        if is_main_process():
            try:
                write_checkpoint(state, path)
                save_as_last(path)
            except UsageError as error:
                failure = [str(error)]
        broadcast_object_list(failure)  # all processes go on, or none
        if failure[0]:
            raise UsageError(failure[0])
