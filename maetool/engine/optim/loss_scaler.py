"""The scale of the loss in float16, which falls and grows on the device."""

import torch
from torch import Tensor


class LossScaler(torch.amp.GradScaler):
    """PyTorch's loss scaler without its `step` and `update`: whether a step is left out is decided once for all.

    PyTorch's own looks for each optimiser whether its gradients overflowed, and reads that back. The optimiser wrapper
    knows it from the gradient norms, for all optimisers and all processes, and its flag leaves out the step and lowers
    the scale. Arguments and state are those of `torch.amp.GradScaler`.
    """

    @property
    def factor(self) -> Tensor:
        """What the loss is multiplied by: float32 (), on the device of the loss, once a loss was scaled."""
        factor: Tensor = self._check_scale_growth_tracker("factor")[0]
        return factor

    def update_by(self, left_out: Tensor | bool) -> None:
        """Lower the scale after a step that was left out; let it grow after `growth_interval` others in a row.

        Nothing happens if the loss is not scaled.

        Args:
            left_out: whether the step was left out; as a tensor float32 (), 0 or 1, which is not read.
        """
        if not self.is_enabled():
            return
        scale, tracker = self._check_scale_growth_tracker("update_by")
        if isinstance(left_out, bool):
            left_out = torch.full_like(scale, left_out)
        factors = self.get_growth_factor(), self.get_backoff_factor(), self.get_growth_interval()
        torch._amp_update_scale_(scale, tracker, left_out, *factors)
        self._per_optimizer_states.clear()  # what `unscale_` found, optimiser by optimiser
