"""What the models on top of a pretrained encoder share."""

from typing import Any, TypeVar

from .base import TrainableModel

Model = TypeVar("Model", bound="DownstreamModel")


def leave_out(encoder: Any) -> None:
    """Give the parts of an encoder that it names in `pretraining_only`, which features do not use, no gradients."""
    for name in getattr(encoder, "pretraining_only", ()):
        getattr(encoder, name).requires_grad_(False)


class DownstreamModel(TrainableModel):
    """A model with an encoder that may be frozen.

    Parts of the encoder that it names in `pretraining_only` take no part in the features, and get no gradients.

    Args:
        encoder: the encoder.
        frozen: its parameters and buffers never change: they get no gradients, and it stays in evaluation mode.
        data_preprocessor: the module that normalises images; only the runner needs it.
    """

    def __init__(self, encoder: Any, frozen: bool, data_preprocessor: Any) -> None:
        super().__init__(data_preprocessor)
        self.encoder, self.frozen = encoder, frozen
        leave_out(encoder)
        if frozen:
            encoder.requires_grad_(False).eval()

    def train(self: Model, mode: bool = True) -> Model:
        """Switch to training or evaluation; a frozen encoder stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self
