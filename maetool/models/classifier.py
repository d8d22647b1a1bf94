"""The image classifier: an encoder, pooling and a linear layer."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError
from maetool.heads.labels import (
    balanced_pos_weights,
    balanced_weights,
    constant_binary_loss,
    constant_loss,
    known_binary_cross_entropy,
    weights_for,
)
from maetool.registry import ENCODERS, MODELS
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import total_of

from .build import Part
from .pairing import channels_of
from .pooled import PooledModel


@MODELS.register_module()
class ImageClassifier(PooledModel):
    """Tells the class of an image, or several, from the tokens of any encoder; nothing is masked.

    MAE's fine-tuning is `pooling="avg", own_norm=True`, its linear probe
    `pooling="cls", frozen=True, batch_norm=True` (`main_finetune.py` and `main_linprobe.py` of facebookresearch/mae).

    Args:
        encoder: config or module.
        num_classes: K.
        pooling: "cls", the class token; "avg", the mean of the patch tokens; "attention", what one learned query finds
            in all tokens.
        own_norm: normalise what was pooled with a new norm `fc_norm`, in place of the encoder's final `norm`.
        pool_heads: heads of the attention of `pooling="attention"`.
        frozen: train only what is on top of the encoder, whose parameters and buffers never change.
        batch_norm: in front of the linear layer, standardise each feature over the batch, without learned parameters.
        head_std: standard deviation of the linear layer's first weights; its bias begins at 0.
        label_smoothing: share of the target that is spread over all classes; with several labels, each is moved
            towards 0.5 by it.
        multi_label: an image has any number of the classes: K sigmoid losses instead of one softmax. A label that is
            NaN counts nothing.
        class_weight: how much each class counts in the loss, K numbers above 0; "balanced", inversely to its share of
            the training data; None, all images alike.
        pos_weight: with `multi_label`, how much a positive label counts beside a negative one: K numbers, or
            "balanced", negatives / positives of each class in the training data.
        data_preprocessor: config or module; see `maetool.data.ImagePreprocessor`. Only the runner needs it.

    Raises:
        UsageError: an argument out of range, or a class token wanted of an encoder without one.
    """

    task = "classification"
    part_registries = {"encoder": ENCODERS, "data_preprocessor": MODELS}

    def __init__(
        self,
        encoder: Part,
        num_classes: int,
        pooling: Literal["cls", "avg", "attention"] = "avg",
        own_norm: bool = False,
        pool_heads: int = 8,
        frozen: bool = False,
        batch_norm: bool = False,
        head_std: float = 0.01,
        label_smoothing: float = 0.0,
        multi_label: bool = False,
        class_weight: Sequence[float] | Literal["balanced"] | None = None,
        pos_weight: Sequence[float] | Literal["balanced"] | None = None,
        data_preprocessor: Part | None = None,
    ) -> None:
        _check(num_classes, 1 if multi_label else 2, label_smoothing)
        built: Any = ENCODERS.build(encoder)
        facts = {**channels_of(built), "num_classes": num_classes}
        preprocessor = MODELS.build(data_preprocessor, default_args=facts)
        super().__init__(built, num_classes, preprocessor, pooling, own_norm, pool_heads, frozen, batch_norm, head_std)
        self.num_classes, self.multi_label, self.label_smoothing = num_classes, multi_label, label_smoothing
        if pos_weight is not None and not multi_label:
            raise UsageError("pos_weight is for model.multi_label=True; use class_weight for one label per image.")
        self._balanced = [n for n, v in (("class_weight", class_weight), ("pos_weight", pos_weight)) if v == "balanced"]
        self.register_buffer("class_weight", weights_for("class_weight", class_weight, num_classes), persistent=False)
        self.register_buffer("pos_weight", weights_for("pos_weight", pos_weight, num_classes), persistent=False)
        constant = torch.tensor(math.log(2 if multi_label else num_classes))  # until the training counts the labels
        self.register_buffer("constant_loss", constant, persistent=False)

    def forward(
        self,
        images: Tensor,
        data_samples: dict[str, Any] | None = None,
        mode: Literal["loss", "predict", "tensor"] = "loss",
    ) -> Any:
        """Return the loss, the logits or the features of a batch.

        Args:
            images: (B, C, H, W), normalised.
            data_samples: what else the batch holds: `label`, int64 (B,), or float32 (B, K) of zeros and ones, or NaN,
                with `multi_label`; `target`, float32 (B, K), replaces it where labels were mixed.
            mode: "loss" gives a dict of scalars: `loss`, `constant_predictor`, the loss of the best probabilities that
                are the same for all images (the shares of the classes once `learn_balance` has seen the labels, and
                even ones before), and `accuracy` in percent where each image has one label and none were mixed;
                "predict" the logits (B, K), float32; "tensor" the pooled features (B, D).

        Raises:
            UsageError: an unknown mode, no labels or labels of another kind, or images that do not fit the encoder.
        """
        features = self.features(images)  # (B, D)
        if mode == "tensor":
            return features
        logits = self.predictions(features)  # (B, K)
        if mode == "predict":
            return logits
        if mode != "loss":
            raise UsageError(f'mode is {mode!r}, but must be "loss", "predict" or "tensor".')
        return self._losses(logits, data_samples or {})

    def _losses(self, logits: Tensor, samples: dict[str, Any]) -> dict[str, Tensor]:
        label: Any = samples.get("label")
        self._check_label(label, len(logits))
        target: Any = samples.get("target", label)
        if self.multi_label:
            target = target.float() * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
            loss = known_binary_cross_entropy(logits, target, self.class_weight, self.pos_weight)
            return {"loss": loss, "constant_predictor": self.constant_loss.clone()}
        loss = self._cross_entropy(logits, target)
        losses = {"loss": loss, "constant_predictor": self.constant_loss.clone()}
        if target is label:
            losses |= only_logged(lambda: {"accuracy": (logits.argmax(dim=1) == label).float().mean() * 100})
        return losses

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        weight, by_class = self.class_weight, self.class_weight is not None and not target.is_floating_point()
        options: dict[str, Any] = {"label_smoothing": self.label_smoothing, "reduction": "sum" if by_class else "mean"}
        loss = functional.cross_entropy(logits, target, weight, **options)
        return loss / total_of(weight[target]) if by_class else loss

    def learn_balance(self, labels: Tensor, drawn: Tensor | None = None) -> str:
        """Set the loss of the constant predictor and the weights that are "balanced"; the training calls it first.

        Args:
            labels: int64 (N,), or float32 (N, K) of zeros and ones, or NaN.
            drawn: how often each image is drawn beside the others, (N,); None, all alike. The constant prediction is
                the best one of what is drawn; the weights are those of the images.

        Returns:
            A sentence with the weights; empty if none is "balanced".
        """
        positive, negative = _counts(labels, self.num_classes)
        new = {"class_weight": balanced_weights(positive), "pos_weight": balanced_pos_weights(positive, negative)}
        for name in self._balanced:
            getattr(self, name).copy_(new[name])
        if len(labels):
            seen = (positive, negative) if drawn is None else _counts(labels, self.num_classes, drawn)
            self.constant_loss.copy_(self._constant(*(each.cpu() for each in seen)))
        return "; ".join(
            f"balanced {name} from {new[name].min():.3g} to {new[name].max():.3g}" for name in self._balanced
        )

    def _constant(self, positive: Tensor, negative: Tensor) -> Tensor:
        weight, spread = _cpu(self.class_weight), self.label_smoothing
        if self.multi_label:
            return constant_binary_loss(positive, negative, weight, _cpu(self.pos_weight), spread)
        return constant_loss(positive.double() / positive.sum(), weight, spread)

    def _check_label(self, label: Tensor | None, batch_size: int) -> None:
        if label is None:
            raise UsageError("The batch has no labels: give the dataset some, for example with with_labels=True.")
        expected = (batch_size, self.num_classes) if self.multi_label else (batch_size,)
        if label.shape != expected:
            raise UsageError(
                f"The labels of the batch have the shape {tuple(label.shape)}, but with model.multi_label="
                f"{self.multi_label} and {self.num_classes} classes it must be {expected}: set both to match the data."
            )


def _cpu(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.cpu()


def _counts(labels: Tensor, num_classes: int, drawn: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return how many images have each class, and how many are known not to, both (K,), each counted as it is drawn."""
    if labels.ndim == 2:
        times: Any = 1 if drawn is None else drawn[:, None]
        return ((labels > 0) * times).sum(dim=0), ((labels == 0) * times).sum(dim=0)
    positive = labels.bincount(drawn, minlength=num_classes)
    return positive, positive.sum() - positive


def _check(num_classes: int, least: int, label_smoothing: float) -> None:
    if type(num_classes) is not int or num_classes < least:
        raise UsageError(f"num_classes is {num_classes!r}, but must be an integer of at least {least}.")
    if not 0 <= label_smoothing < 1:
        raise UsageError(f"label_smoothing is {label_smoothing!r}, but must be a number from 0 to below 1.")
