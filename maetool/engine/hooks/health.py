"""Says in plain words when a run goes wrong, and what to do."""

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from maetool.annotations import Count
from maetool.evaluation.spread import feature_deviation
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS

_CHECKED_BATCHES, _CHECKED_EPOCHS = 20, 3
_ALIKE = 0.25  # share of the samples of checked batches that are copies of others
_TOO_GOOD, _NO_BETTER, _BLANK = 0.01, 0.02, 1e-4  # of the loss of a constant predictor
_COLLAPSED_FEATURES, _COLLAPSED_TOKENS = 0.01, 0.9995
_ENOUGH_IMAGES, _MOST_IMAGES = 16, 2000
_LAST = 0.98  # share of training after which a learning rate may be 0
_PATIENCE = 200  # iterations, or a tenth of training


@HOOKS.register_module()
class HealthHook(Hook):
    """Warns once of each sign that a run goes wrong, from numbers that are there already.

    A learning rate of 0; a loss that stays at that of a constant predictor after the warm-up, or is lower than images
    allow; patches without content; batches that hold the same samples again; features that are alike for all images,
    and tokens that are alike within an image. The last two are seen where a validation computes features, as for kNN,
    or measures `FeatureSpreadEvaluator`.

    Args:
        interval: iterations between two looks at the numbers of training; data is looked at in 20 batches only.
    """

    priority = "LOW"  # after the values of the iteration are there

    def __init__(self, interval: Count = 50) -> None:
        self.interval = interval
        self._said: set[str] = set()
        self._first_batch = 0
        self._batches: dict[int, int] = {}  # checksum to the iteration of a checked batch of this epoch
        self._samples, self._copies, self._checked = 0, 0, 0
        self._highest_rate, self._peak, self._zero_since = 0.0, 0, -1

    def before_train_epoch(self, runner: RunnerLike) -> None:
        """Forget the batches of the epoch before."""
        self._batches = {}

    def after_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at the batch and at the numbers, if it is time."""
        if batch_idx == 0 and runner.epoch < _CHECKED_EPOCHS:
            self._look_at_first(runner, data_batch)
        if self.every_n_train_iters(runner, self.interval):
            if self._checked < _CHECKED_BATCHES:
                self._look_at_batch(runner, data_batch)
            self._look_at_rate(runner)
            self._look_at_loss(runner)

    def after_features(self, runner: RunnerLike, features: Mapping[str, Tensor]) -> None:
        """Look at features (N, D) that a validation of `runner` has computed, by the name `tokens`."""
        tokens = features.get("tokens")
        if runner.iter == 0 or tokens is None or tokens.ndim != 2 or len(tokens) < _ENOUGH_IMAGES:
            return  # an untrained encoder may give much the same for all images
        self._judge_deviation(runner, feature_deviation(tokens[:: -(-len(tokens) // _MOST_IMAGES)]))

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, Any] | None = None) -> None:
        """Look at the signs of collapse that a validation measured."""
        metrics = metrics or {}
        if runner.iter == 0:
            return
        if "feature_deviation" in metrics:
            self._judge_deviation(runner, metrics["feature_deviation"])
        similarity = metrics.get("token_similarity", 0.0)
        if similarity > _COLLAPSED_TOKENS:
            self._say(
                runner,
                "tokens",
                f"The patch tokens of an image are all alike (cosine similarity {similarity:.4f}), so they say nothing "
                "of places: lower the learning rate, shorten the training, or use a target that differs from patch to "
                "patch, such as pixels.",
            )

    def _judge_deviation(self, runner: RunnerLike, deviation: float) -> None:
        if deviation < _COLLAPSED_FEATURES:
            self._say(
                runner,
                "features",
                f"The features have collapsed: they are the same for all images (deviation {deviation:.1e} of at most "
                "1). Lower the learning rate, lengthen the warm-up, and where a teacher learns along, raise its "
                "momentum or its target's normalisation; checkpoints from before are better.",
            )

    def _look_at_first(self, runner: RunnerLike, batch: Any) -> None:
        """Compare the first batch of an epoch with that of the run."""
        checksum = zlib.crc32(repr(_checksums(batch)).encode())
        if not self._first_batch:
            self._first_batch = checksum
        elif checksum == self._first_batch and len(runner.train_dataloader) > 1:
            self._say(
                runner,
                "epochs",
                f"Epoch {runner.epoch + 1} begins with the same samples, cropped and ordered alike, as the first one: "
                "the sampler does not shuffle anew (train_dataloader.sampler.shuffle=True, and a sampler of your own "
                "needs set_epoch), and augmentation repeats.",
            )

    def _look_at_batch(self, runner: RunnerLike, batch: Any) -> None:
        """Look for copies in a batch, and for the same batch earlier in this epoch."""
        samples = _checksums(batch)
        self._checked += 1
        self._samples, self._copies = self._samples + len(samples), self._copies + len(samples) - len(set(samples))
        if self._copies > _ALIKE * self._samples:
            self._say(
                runner,
                "copies",
                f"{self._copies} of {self._samples} samples of the batches looked at are exact copies of others: look "
                "for copies with `maetool check FOLDER`, and if augmentation is of your own, draw it from torch's "
                "generator, which differs from worker to worker.",
            )
        whole = zlib.crc32(repr(samples).encode())
        earlier = self._batches.setdefault(whole, runner.iter)
        if samples and earlier != runner.iter:
            self._say(
                runner,
                "batches",
                f"Steps {earlier + 1} and {runner.iter + 1} of the same epoch had exactly the same batch: look at the "
                "dataset's __len__ and __getitem__, and at the sampler.",
            )

    def _look_at_rate(self, runner: RunnerLike) -> None:
        rates = {
            name: max(values) for name, values in runner.optim_wrapper.get_lr().items() if not name.endswith("base_lr")
        }
        highest = max(rates.values(), default=0.0)
        if highest > self._highest_rate:
            self._highest_rate, self._peak = highest, runner.iter
        idle = [name for name, rate in rates.items() if rate == 0]
        if not idle or runner.iter > _LAST * runner.max_iters:
            self._zero_since = -1
        elif self._zero_since < 0:
            self._zero_since = runner.iter
        else:
            self._say(
                runner,
                "rate",
                f"The learning rate ({', '.join(idle)}) is 0 since step {self._zero_since + 1} of {runner.max_iters}, "
                "so nothing is learned: look at base_lr or optim_wrapper.optimizer.lr, and whether param_scheduler "
                "ends before train_cfg.max_epochs.",
            )

    def _look_at_loss(self, runner: RunnerLike) -> None:
        scalars = runner.message_hub.log_scalars
        if not {"train/loss", "train/constant_predictor"} <= scalars.keys():
            return
        loss, constant = (scalars[f"train/{name}"].mean(self.interval) for name in ("loss", "constant_predictor"))
        settled = runner.iter - self._peak >= max(_PATIENCE, runner.max_iters // 10)
        if constant < _BLANK:
            self._say(
                runner,
                "blank",
                f"What is to be predicted is the same everywhere (a constant predictor has the loss {constant:.1e}): "
                "the images are blank, model.data_preprocessor.mean and std are in other units than they (`maetool "
                "dataset_stats FOLDER` prints both), or the network whose features are predicted has collapsed.",
            )
        elif 0 <= loss < _TOO_GOOD * constant:
            self._say(
                runner,
                "too good",
                f"The loss, {loss:.2e}, is lower than images allow (a constant predictor has {constant:.2e}): either "
                "all images are much the same (`maetool check FOLDER`), or the encoder sees what it is to predict; "
                "look at the pictures in reconstructions/.",
            )
        elif settled and abs(loss - constant) < _NO_BETTER * constant:
            self._say(
                runner,
                "constant",
                f"The loss, {loss:.4f}, stays at that of a constant predictor, {constant:.4f}, long after the "
                "warm-up: the model predicts the mean. Try another learning rate (base_lr ten times lower, then "
                "higher), a longer warm-up, and float32 in place of float16.",
            )

    def _say(self, runner: RunnerLike, what: str, sentence: str) -> None:
        if what not in self._said:
            self._said.add(what)
            runner.logger.warning(sentence)


def _checksums(batch: Any) -> list[int]:
    """Return a checksum of each sample of a batch; none of inputs that are no tensor."""
    inputs = batch.get("inputs") if isinstance(batch, Mapping) else None
    while isinstance(inputs, Mapping):
        inputs = next(iter(inputs.values()))
    if not isinstance(inputs, Tensor) or inputs.device.type != "cpu" or inputs.dtype is torch.bfloat16:
        return []
    return [zlib.crc32(sample.contiguous().numpy().tobytes()) for sample in inputs]
