"""MMEngine's runner with safe checkpoints, a quiet start, and process groups that work without CUDA."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmengine
import torch
import torch.distributed as dist
from mmengine.dist import get_world_size, is_distributed, master_only
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from maetool import __version__
from maetool.errors import UsageError
from maetool.registry import DATASETS, LOOPS, MODELS

from .checkpoint import history_from_plain, load_weights, newest_readable, read_checkpoint, weights_of, write_checkpoint


@RUNNERS.register_module()
class MaetoolRunner(Runner):
    """The runner of every maetool config; `build_runner` in `maetool.engine.launch` makes one from a config."""

    rate = ""  # the sentence on the learning rate, which training begins with

    @classmethod
    def from_cfg(cls, cfg: Any) -> "MaetoolRunner":
        """Build the runner; environment, config and hooks go to the log file only, not to the terminal."""
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
        if self.launcher == "pytorch" and not is_distributed() and not torch.cuda.is_available():
            dist.init_process_group("gloo")
        super().setup_env(env_cfg)

    def build_model(self, model: Any) -> torch.nn.Module:
        """Build the model with maetool's checks."""
        return MODELS.build(model)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: torch.nn.Module) -> torch.nn.Module:
        """Move the model to its device; several processes on CPUs get a wrapper without device numbers."""
        if self.distributed and not torch.cuda.is_available() and model_wrapper_cfg is None:
            return MMDistributedDataParallel(module=model, broadcast_buffers=False)
        return super().wrap_model(model_wrapper_cfg, model)

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
            dataloader = {**dataloader, "dataset": dataset}
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_val_loop(self, loop: Any) -> Any:
        """Build the validation loop, handing it only what it takes."""
        facts = {"runner": self, "dataloader": self._val_dataloader, "evaluator": self._val_evaluator}
        return LOOPS.build(loop, default_args=facts)

    @property
    def bare_model(self) -> torch.nn.Module:
        """The model without the wrapper of several processes."""
        return getattr(self.model, "module", self.model)

    def load_or_resume(self) -> None:
        """Load weights, or go on from a checkpoint: from the newest readable one where none was named."""
        if self._resume and self._load_from is None and not self._has_loaded:
            newest = newest_readable(Path(self.work_dir), self.logger.warning)
            if newest is None:
                self.logger.info("Nothing to resume in %s: starting from the beginning.", self.work_dir)
                self._resume = False
            else:
                self._load_from = str(newest)
        super().load_or_resume()

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Any = None
    ) -> dict[str, Any]:
        """Load the weights of a checkpoint and return all that it holds.

        Raises:
            UsageError: see `read_checkpoint` and `load_weights`; a checkpoint of ours is needed to resume.
        """
        checkpoint = read_checkpoint(filename, map_location)
        if self._resume and not {"meta", "optimizer", "message_hub"} <= checkpoint.keys():
            raise UsageError(
                f"{filename} holds only weights, so training cannot go on from it: resume from a checkpoint that "
                "training wrote, or start from its weights with --cfg-options load_from=PATH."
            )
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self.bare_model, weights_of(checkpoint, filename), filename)
        scalars = checkpoint.get("message_hub", {}).get("log_scalars", {})
        scalars.update({name: history_from_plain(value) for name, value in scalars.items()})
        self._has_loaded = True
        what = "Weights, optimiser, schedule and position in the data" if self._resume else "Only the weights"
        self.logger.info("%s come from %s.", what, filename)
        return checkpoint

    @master_only
    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
    ) -> None:
        """Write everything that training needs to go on.

        Args:
            out_dir, filename: where.
            save_optimizer, save_param_scheduler: whether their state goes in.
            meta: further facts to store.
            by_epoch: called at the end of an epoch, whose number has not been raised yet, or after an iteration.

        Raises:
            UsageError: the file cannot be written.
        """
        checkpoint = {
            "meta": {
                "epoch": self.epoch + 1 if by_epoch else self.epoch,
                "iter": self.iter if by_epoch else self.iter + 1,
                "seed": self.seed,
                "experiment_name": self.experiment_name,
                "cfg": self.cfg.pretty_text,
                "time": time.strftime("%Y-%m-%d %H:%M:%S"),
                "versions": {"maetool": __version__, "torch": torch.__version__, "mmengine": mmengine.__version__},
                "dataset_meta": self.train_dataloader.dataset.metainfo,
                **(meta or {}),
            },
            "state_dict": self.bare_model.state_dict(),
            "message_hub": self.message_hub.state_dict(),
        }
        if save_optimizer:
            checkpoint["optimizer"] = self.optim_wrapper.state_dict()
        if save_param_scheduler and self.param_schedulers:
            checkpoint["param_schedulers"] = [scheduler.state_dict() for scheduler in self.param_schedulers]
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        write_checkpoint(checkpoint, Path(out_dir) / filename)
