"""The image regressor: an encoder, pooling and a linear layer that predicts numbers."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError
from maetool.registry import ENCODERS, MODELS
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import total_of

from .build import Part
from .pairing import channels_of
from .pooled import PooledModel

Loss = Literal["l2", "l1", "huber"]


@MODELS.register_module()
class ImageRegressor(PooledModel):
    """Predicts one or several numbers of an image from the tokens of any encoder; nothing is masked.

    It learns the numbers less their mean and divided by their standard deviation over the training data, which stay
    with the weights; what it predicts has the units of the data.

    Args:
        encoder: config or module.
        num_targets: K.
        pooling, own_norm, pool_heads, frozen, batch_norm, head_std: see `ImageClassifier`.
        loss: of the standardised numbers: "l2", the squared error; "l1", the absolute one; "huber", squared up to
            `delta` and linear beyond.
        delta: of "huber", in standard deviations.
        data_preprocessor: config or module; see `maetool.data.ImagePreprocessor`. Only the runner needs it.

    Raises:
        UsageError: an argument out of range, or a class token wanted of an encoder without one.
    """

    task = "regression"
    part_registries = {"encoder": ENCODERS, "data_preprocessor": MODELS}

    def __init__(
        self,
        encoder: Part,
        num_targets: int = 1,
        pooling: Literal["cls", "avg", "attention"] = "avg",
        own_norm: bool = False,
        pool_heads: int = 8,
        frozen: bool = False,
        batch_norm: bool = False,
        head_std: float = 0.01,
        loss: Loss = "huber",
        delta: float = 1.0,
        data_preprocessor: Part | None = None,
    ) -> None:
        _check(num_targets, loss, delta)
        built: Any = ENCODERS.build(encoder)
        preprocessor = MODELS.build(data_preprocessor, default_args=channels_of(built))
        super().__init__(built, num_targets, preprocessor, pooling, own_norm, pool_heads, frozen, batch_norm, head_std)
        self.num_targets, self.loss, self.delta = num_targets, loss, delta
        self.register_buffer("target_mean", torch.zeros(num_targets))
        self.register_buffer("target_std", torch.ones(num_targets))

    def learn_balance(self, labels: Tensor) -> str:
        """Take mean and standard deviation of the numbers from the training data; the training calls it first.

        Args:
            labels: float (N, K), NaN where unknown.

        Returns:
            A sentence with both.
        """
        values = self._targets(labels, len(labels)).double()
        mean = values.nanmean(dim=0)
        std = (values - mean).square().nanmean(dim=0).sqrt()
        self.target_mean.copy_(mean)
        self.target_std.copy_(torch.where(std > 0, std, 1.0))
        pairs = ", ".join(f"{m:.4g} ± {s:.4g}" for m, s in zip(mean.tolist(), std.tolist(), strict=True))
        return f"numbers to predict, mean ± standard deviation: {pairs}"

    def forward(
        self,
        images: Tensor,
        data_samples: dict[str, Any] | None = None,
        mode: Literal["loss", "predict", "tensor"] = "loss",
    ) -> Any:
        """Return the loss, the numbers or the features of a batch.

        Args:
            images: (B, C, H, W), normalised.
            data_samples: what else the batch holds: `label`, float (B, K), NaN where unknown, or (B,) for K = 1.
            mode: "loss" gives a dict of scalars: `loss`, and `constant_predictor`, that of the mean of the training
                data; "predict" the numbers (B, K), float32, in the units of the data; "tensor" the pooled features.

        Raises:
            UsageError: an unknown mode, no labels or labels of another shape.
        """
        features = self.features(images)  # (B, D)
        if mode == "tensor":
            return features
        predicted = self.predictions(features)  # (B, K), standardised
        if mode == "predict":
            return predicted * self.target_std + self.target_mean
        if mode != "loss":
            raise UsageError(f'mode is {mode!r}, but must be "loss", "predict" or "tensor".')
        values = self._targets((data_samples or {}).get("label"), len(images))
        target = (values.float() - self.target_mean) / self.target_std
        zeros = torch.zeros_like(predicted)
        logged = only_logged(lambda: {"constant_predictor": self._mean_loss(zeros, target)})
        return {"loss": self._mean_loss(predicted, target), **logged}

    def _mean_loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        known = (~target.isnan()).to(predicted.dtype)
        target = target.nan_to_num(0.0)
        if self.loss == "huber":
            losses = functional.huber_loss(predicted, target, reduction="none", delta=self.delta)
        else:
            function = functional.l1_loss if self.loss == "l1" else functional.mse_loss
            losses = function(predicted, target, reduction="none")
        return (losses * known).sum() / total_of(known).clamp(min=1)

    def _targets(self, label: Tensor | None, batch_size: int) -> Tensor:
        if label is None:
            raise UsageError("The batch has no numbers to predict: set dataset.targets to the columns of a table.")
        values = label[:, None] if label.ndim == 1 else label
        if values.shape != (batch_size, self.num_targets):
            raise UsageError(
                f"The numbers to predict have the shape {tuple(label.shape)}, but model.num_targets is "
                f"{self.num_targets}: set it to the number of columns in dataset.targets."
            )
        return values


def _check(num_targets: int, loss: str, delta: float) -> None:
    if type(num_targets) is not int or num_targets < 1:
        raise UsageError(f"num_targets is {num_targets!r}, but must be an integer of at least 1.")
    if loss not in ("l2", "l1", "huber") or not delta > 0:
        raise UsageError(f'loss is {loss!r} and delta {delta!r}, but must be "l2", "l1" or "huber", and above 0.')
