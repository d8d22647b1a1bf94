"""The interfaces of runner, models and datasets that hooks, loops, evaluators and inference use."""

from collections.abc import Sequence
from logging import Logger
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class PreprocessorLike(nn.Module):
    """The data preprocessor of a model, for annotations; none needs to inherit from it."""

    def denormalise(self, images: Tensor) -> Tensor:
        """Return normalised images (B, C, H, W) in the units of the stored values."""
        raise NotImplementedError


class EncoderLike(nn.Module):
    """An encoder as inference uses it, for annotations; none needs to inherit from it.

    Attributes:
        num_prefix_tokens: T, the tokens before those of the patches.
        in_chans: C of the images.
        img_size: (H, W) of the images.
    """

    num_prefix_tokens: int
    in_chans: int
    img_size: tuple[int, ...]


class ModelLike(nn.Module):
    """A model as evaluation and inference use it, for annotations; none needs to inherit from it.

    Attributes:
        data_preprocessor: turns a batch of the loader into the arguments of the model.
        encoder: of models that have one.
        target: of masked image models.
        num_classes: of classifiers, segmentors and detectors.
        multi_label: of classifiers.
        ignore_index: of segmentors.
        with_masks: of detectors.
    """

    data_preprocessor: PreprocessorLike
    encoder: EncoderLike
    target: nn.Module
    num_classes: int
    multi_label: bool
    ignore_index: int
    with_masks: bool


class MaskedModelLike(ModelLike):
    """A masked image model, for annotations; none needs to inherit from it."""

    def make_plan(self, images: Tensor, data_samples: Any = None) -> Any:
        """Return the `MaskPlan` of a batch.

        Args:
            images: (B, C, *size), normalised.
            data_samples: may hold `key` int64 (B,), `mask` (1 = removed) and `weight`.
        """
        raise NotImplementedError


class MapDataset(Protocol):
    """A map-style dataset: it has a length, and is indexed."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, item: Any) -> Any:
        """Return a sample."""


class NamedImages(MapDataset, Protocol):
    """A dataset whose images have names, and classes or none.

    Attributes:
        classes: names of the classes; empty without labels.
    """

    classes: Sequence[str]

    def name_of(self, index: int) -> str:
        """Return the name of the image at `index`."""


@runtime_checkable
class RunnerLike(Protocol):
    """The runner as hooks, loops and checkpoints see it; `MaetoolRunner` is one.

    Attributes:
        bare_model: the model without the wrapper of several processes, whose methods and attributes are its own.
        stopped: why training stopped early; empty if it did not.
        saved_on_stop: whether the last iteration is then in a checkpoint.
        last_saved: completed iterations of the last checkpoint that can be resumed, and its name.
        rate: a sentence on the learning rate.
        writer: writes checkpoints while training goes on, see `maetool.weights.background`.
    """

    model: nn.Module
    optim_wrapper: Any
    param_schedulers: Any
    cfg: Any
    logger: Logger
    message_hub: Any
    visualizer: Any
    log_processor: Any
    stopped: str
    saved_on_stop: bool
    last_saved: tuple[int, str]
    writer: Any
    rate: str
    _train_loop: Any  # MMEngine's: None or a config until the loop is built
    _test_loop: Any

    @property
    def bare_model(self) -> ModelLike:
        """The model without the wrapper of several processes."""

    @property
    def hooks(self) -> list[Any]:
        """All hooks, those of highest priority first."""

    @property
    def train_loop(self) -> Any:
        """The training loop, built when it is first asked for."""

    @property
    def val_loop(self) -> Any:
        """The validation loop; None without validation data."""

    @property
    def test_loop(self) -> Any:
        """The test loop; None without test data."""

    @property
    def train_dataloader(self) -> Any:
        """The loader of the training loop."""

    @property
    def val_dataloader(self) -> Any:
        """The loader of the validation loop."""

    @property
    def test_dataloader(self) -> Any:
        """The loader of the test loop."""

    @property
    def epoch(self) -> int:
        """Completed epochs."""

    @property
    def iter(self) -> int:
        """Completed iterations; in `after_train_iter`, the present one is not counted yet."""

    @property
    def max_epochs(self) -> int:
        """Epochs of the run."""

    @property
    def max_iters(self) -> int:
        """Iterations of the run."""

    @property
    def work_dir(self) -> str:
        """The folder of the run."""

    @property
    def log_dir(self) -> str:
        """The folder of the logs of this start of the run, in `work_dir`."""

    @property
    def experiment_name(self) -> str:
        """The name of the run in its logs."""

    @property
    def model_name(self) -> str:
        """The class of the model."""

    @property
    def rank(self) -> int:
        """The rank of this process, from 0."""

    @property
    def world_size(self) -> int:
        """The number of processes."""

    @property
    def seed(self) -> int:
        """The seed of the run."""

    @property
    def trained_classes(self) -> Any:
        """Names of the classes that the model is or was trained on; empty if unknown."""

    @property
    def config_facts(self) -> dict[str, str]:
        """The config in the form that checkpoints store."""

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the method `fn_name` of all hooks."""

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Add a hook, of its own priority or of the given `priority`."""

    def build_dataloader(self, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """Build a loader with its dataset and sampler.

        Args:
            dataloader: its config, or a loader, which comes back as it is.
            seed: of the workers.
            diff_rank_seed: give each process another one.
        """

    def full_state_dict(self, everywhere: bool = False) -> dict[str, Any]:
        """Return the model's full state dict, gathered if it is sharded; all processes must call it together.

        Args:
            everywhere: give it to every process; otherwise the first has it, and the others an empty dict.
        """

    def begin_saving(self, name: str, meta: dict[str, Any]) -> None:
        """Begin to write a checkpoint while training goes on; all processes call it together.

        Args:
            name: of the file in the folder of the run.
            meta: metadata; `epoch` and `iter` are completed epochs and iterations.
        """

    def finish_saving(self) -> Path | None:
        """Wait for the checkpoint that was begun, if any, and return its path; all processes call it together."""

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
        """Write a checkpoint; all processes call it together.

        Args:
            out_dir, filename: where.
            file_client_args, backend_args: None, or those of the local disk.
            save_optimizer, save_param_scheduler: without either, the checkpoint holds weights alone.
            meta: further metadata; `epoch` and `iter` are completed epochs and iterations.
            by_epoch: without these two, whether the epoch in progress is complete, not just the iteration.
        """
