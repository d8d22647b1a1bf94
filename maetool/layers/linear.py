"""Linear maps that are quick on a CPU and keep little for the backward pass."""

from torch import Tensor, nn

from maetool.ops.linear import gelu_linear, linear, norm_linear


class Linear(nn.Linear):
    """A linear map, float32 on a CPU by oneDNN; see `maetool.ops.linear`."""

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Map x (..., I), normalised by `norm` where there is one, to (..., O)."""
        if norm is not None:
            return norm_linear(x, norm, self.weight, self.bias)
        return linear(x, self.weight, self.bias)


class GeluLinear(nn.Linear):
    """GELU and then a linear map, keeping one tensor for the backward pass instead of two."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., I) to (..., O)."""
        return gelu_linear(x, self.weight, self.bias)
