"""MMEngine's runner with safe checkpoints and exact resume."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.registry import RUNNERS

from maetool.config.earlier import check_as_trained
from maetool.config.facts import has_classes
from maetool.config.prepare import prepare_run
from maetool.config.text import OrderedConfig
from maetool.errors import UsageError
from maetool.evaluation.loop import needs_features_alone
from maetool.metadata.stored_config import config_file_of, stored_facts
from maetool.models import start_parts
from maetool.parallel.loading import load_weights
from maetool.parallel.sharding import full_weights, is_sharded, read_on_first
from maetool.pretrained.facts import names_of_classes, names_of_targets, order_is_assumed
from maetool.pretrained.initial import load_initial
from maetool.registry import as_usage_error
from maetool.weights.background import BackgroundWriter
from maetool.weights.read import named_weights, read_checkpoint, weights_of
from maetool.weights.work_dir import newest_readable, trained_seed

from .building import BuildingRunner
from .determinism import allow_products, kernels_checked
from .run_lock import only_run_in
from .saving import begin, check_local, finish, leave_no_writer, save
from .scale_check import watch_first_batch
from .state import check_resumable, restore
from .train_loop import enter_loop

_RULE = (
    "; all else is the config's, as it is now: data, model, rates, schedules and hooks. What differs from the "
    "checkpoint's config and may change results is in a line below"
)


@RUNNERS.register_module()
class MaetoolRunner(BuildingRunner):
    """The runner of every maetool config; `build_runner` in `maetool.engine.launch` makes one from a config."""

    rate = ""  # the sentence on the learning rate, logged when training begins
    stopped = ""  # why training stopped early; empty if it did not
    saved_on_stop = False  # whether the last iteration before that is in a checkpoint
    last_saved = (-1, "")  # completed iterations of the last checkpoint that can be resumed, and its name
    loaded_classes: Sequence[str] = ()  # the classes that a loaded checkpoint was trained on

    @classmethod
    def from_cfg(cls, cfg: Any) -> "MaetoolRunner":
        """Check and complete a config and build its runner; `cfg` stays as it is.

        Environment, config and hooks go to the log file only, not to the terminal.

        Raises:
            UsageError: any mistake in the config.
        """
        cfg = OrderedConfig.copy_of(cfg if isinstance(cfg, Config) else Config(dict(cfg)))
        rate = prepare_run(cfg)
        for stage in ("val", "test"):  # MMEngine requires all three or none; maetool's loops need no evaluator
            loader = cfg.get(f"{stage}_dataloader")
            for name, default in (("cfg", {}), ("evaluator", [])):
                if not loader or cfg.get(f"{stage}_{name}") is None:
                    cfg[f"{stage}_{name}"] = default if loader else None
        runner = super().from_cfg(cfg)
        runner.rate = rate
        runner._set_console_level(logging.INFO)
        return runner

    def train(self) -> torch.nn.Module:
        """Train, while no other run can use the work folder.

        Raises:
            UsageError: another run uses it, see `maetool.engine.run_lock`; or `randomness.deterministic=True`, but an
                operation has no deterministic kernel.
        """
        if isinstance(getattr(self.bare_model, "data_preprocessor", None), torch.nn.Module):
            watch_first_batch(self.bare_model.data_preprocessor, self.logger)
        with only_run_in(self.work_dir, self.launcher), kernels_checked():
            try:
                return super().train()
            finally:
                leave_no_writer(self)

    def val(self) -> dict[str, Any]:
        """Validate without training; hooks that save the best checkpoint or end training are not called."""
        hooks, resting = self._hooks, (CheckpointHook, EarlyStoppingHook)
        self._hooks = [hook for hook in hooks if not isinstance(hook, resting)]
        try:
            return super().val()
        finally:
            self._hooks = hooks

    @property
    def trained_classes(self) -> Sequence[str]:
        """Names of the classes, or of the numbers to predict, that the model is or was trained on; empty if unknown."""
        if isinstance(self._train_loop, Mapping | None):
            return self.loaded_classes
        dataset = self.train_dataloader.dataset
        return getattr(dataset, "targets", ()) or getattr(dataset, "classes", ())

    @property
    def config_text(self) -> str:
        """The config as Python; deprecated, `runner.cfg.pretty_text` is the same."""
        warnings.warn(
            "MaetoolRunner.config_text is now runner.cfg.pretty_text; maetool 0.3.0 removes the old name.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.cfg.pretty_text

    @cached_property
    def writer(self) -> BackgroundWriter:
        """Writes checkpoints while training goes on."""
        return BackgroundWriter()

    @cached_property
    def config_facts(self) -> dict[str, str]:
        """The complete config for `meta` of a checkpoint; cached, because MMEngine's formatting takes seconds."""
        return stored_facts(self.cfg)

    def full_state_dict(self, everywhere: bool = False) -> dict[str, Any]:
        """Return the model's state dict, `everywhere` as in `full_weights`; all processes call it together."""
        return full_weights(self.bare_model, everywhere)

    def whole_weights(self, everywhere: bool = False) -> dict[str, Any]:
        """Return `full_state_dict(everywhere)`; deprecated."""
        sentence = "MaetoolRunner.whole_weights is now full_state_dict; maetool 0.3.0 removes the old name."
        warnings.warn(sentence, DeprecationWarning, stacklevel=2)
        return self.full_state_dict(everywhere)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set up processes, threads and limits.

        Raises:
            UsageError: an impossible value, or a launcher whose environment variables are missing.
        """
        hint = "start several processes with torchrun, srun or mpirun, and one with --launcher none"
        with as_usage_error(f"The environment of the run (launcher={self._launcher}, env_cfg)", hint):
            super().setup_env(env_cfg)

    def set_randomness(
        self, seed: int | None = None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed all generators; a resumed run without a seed in its config uses the seed of its checkpoint."""
        if deterministic:
            allow_products()
        if seed is None and self.cfg.get("resume"):
            seeds = [trained_seed(self.work_dir, self.cfg.get("load_from")) if is_main_process() else None]
            broadcast_object_list(seeds)
            seed = seeds[0]
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def load_or_resume(self) -> None:
        """Load weights or resume from a checkpoint, by default the newest readable one."""
        if self._resume and self._load_from is None and not self._has_loaded:
            # One process decides: on a network file system the others may see different files.
            paths = [newest_readable(Path(self.work_dir), self.logger.warning) if is_main_process() else None]
            broadcast_object_list(paths)
            if paths[0] is None:
                self.logger.info("There is nothing to resume in %s: starting from the beginning.", self.work_dir)
                self._resume = False
            else:
                self._load_from = str(paths[0])
        if self._load_from is None and not self._has_loaded:
            self._load_initial()
        super().load_or_resume()

    def measure_from(self, filename: str | None, loop: Any) -> None:
        """Choose the weights that a loop measures: those of a checkpoint, or of its encoder if features suffice.

        Args:
            filename: the checkpoint; if it lacks weights of the model, a loop of features uses its encoder. None lets
                such a loop measure the initial weights of the config, random ones or `init_from`.
            loop: the evaluation loop.

        Raises:
            UsageError: the checkpoint cannot be read, or is missing although the loop needs more than features.
        """
        self._load_from = filename
        if filename is None and not needs_features_alone(loop):
            raise UsageError(
                "There is no checkpoint to measure: add one after the config, maetool test CONFIG CHECKPOINT."
            )
        if filename is not None and needs_features_alone(loop):
            held = set(named_weights(read_checkpoint(filename), filename))
            if not set(self.bare_model.state_dict()) <= held:
                self._load_from, self.cfg.init_from = None, filename

    def _load_initial(self) -> None:
        """Load the initial encoder that `init_from` names, if any."""
        path = self.cfg.get("init_from")
        if path is not None:
            share, adapt = self.cfg.get("init_share", 0.99), self.cfg.get("init_adapt", ())
            report = load_initial(self.bare_model, path, share, adapt, config=self.cfg.get("model"))
            self.call_hook("after_load_checkpoint", checkpoint={"state_dict": self.full_state_dict()})
            self.logger.info("The model starts from %s. %s", path, report)
            if report.remark:
                self.logger.warning(report.remark)
            self._has_loaded = True
            return
        start_parts(self.bare_model)
        if has_classes(self.bare_model):
            self.logger.info("The encoder starts from random weights; --init CHECKPOINT loads pretrained ones.")

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Any = None
    ) -> dict[str, Any]:
        """Load the weights of a checkpoint and return its complete content.

        Raises:
            UsageError: see `read_checkpoint` and `load_weights`; only checkpoints of maetool can be resumed.
        """
        checkpoint = self._on_first(lambda: read_checkpoint(filename, map_location))
        if self._resume:
            check_resumable(self, checkpoint, filename)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        weights = self._on_first(lambda: weights_of(checkpoint, filename))  # after the hooks, which may replace them
        check_as_trained(self.bare_model, checkpoint.get("meta"), filename)
        load_weights(self.bare_model, weights, filename, config_file_of(checkpoint.get("meta"), filename))
        self._has_loaded = True
        if not self._resume:
            start_parts(self.bare_model, weights)
        self.loaded_classes = names_of_classes(checkpoint.get("meta")) or names_of_targets(checkpoint.get("meta"))
        what = "Weights, optimiser state and position in the data" if self._resume else "Only the weights"
        options = _RULE if self._resume else ""
        self.logger.info(f"{what} come from {filename}{options}.")
        if has_classes(self.bare_model) and not self.loaded_classes:
            self.logger.warning(order_is_assumed(filename))
        return checkpoint

    def _on_first(self, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what `read` returns; if the model is sharded, only rank 0 calls it."""
        return read_on_first(read) if is_sharded(self.bare_model) else read()

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Continue from a checkpoint exactly where it was written, and log config values that have changed since.

        Raises:
            UsageError: see `load_checkpoint` and `maetool.engine.state.position`; or the training state in the
                checkpoint has wrong types.
        """
        hint = "use an earlier checkpoint, or start a new run from its weights with --cfg-options load_from=PATH"
        with as_usage_error(f"The state of the run in {filename}", hint):
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
            meta: further metadata; `epoch` and `iter` are completed epochs and iterations.
            by_epoch: without these two, whether the epoch in progress is complete, not just the iteration.

        Raises:
            UsageError: the file cannot be written, or is not on a local disk.
        """
        check_local(out_dir, file_client_args or backend_args)
        done = {"epoch": self.epoch + bool(by_epoch), "iter": self.iter + (not by_epoch)}
        save(self, Path(out_dir) / filename, {**done, **(meta or {})}, save_optimizer and save_param_scheduler)

    def begin_saving(self, name: str, meta: dict[str, Any]) -> None:
        """Begin to write a checkpoint while training goes on; see `maetool.engine.saving.begin`.

        Args:
            name: of the file in the work folder.
            meta: `epoch` and `iter`, completed epochs and iterations.
        """
        begin(self, Path(self.work_dir) / name, meta)

    def finish_saving(self) -> Path | None:
        """Wait for the checkpoint that was begun; see `maetool.engine.saving.finish`."""
        return finish(self)
