"""Batches on their way to the device while it computes the step before."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Sender:
    """Sends the images of a batch on a stream of its own, so that the copy does not queue behind the step before.

    Everything else of a batch is small, and stays on the host until a part needs it.

    Args:
        device: where the model is; other devices than CUDA's get the batch as it is.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: Any) -> Any:
        """Return the batch with `inputs` on the device, for the current stream to use; the loader's stays unchanged."""
        if self._stream is None or not isinstance(batch, Mapping) or "inputs" not in batch:
            return batch
        with torch.cuda.stream(self._stream):
            inputs = self._sent(batch["inputs"])
        present = torch.cuda.current_stream(self.device)
        present.wait_stream(self._stream)
        for tensor in inputs.values() if isinstance(inputs, Mapping) else [inputs]:
            if isinstance(tensor, Tensor):
                tensor.record_stream(present)  # its memory is free for the next batch once this stream is done with it
        return {**batch, "inputs": inputs}

    def _sent(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return {name: self._sent(each) for name, each in inputs.items()}
        return inputs.to(self.device, non_blocking=True) if isinstance(inputs, Tensor) else inputs
