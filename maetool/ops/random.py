"""Random numbers without state: every number is a function of a key and of its place, never of what was drawn before.

The generator is splitmix64 used as a hash (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
2014). It is integer arithmetic, so the CPU and every accelerator draw the same numbers.
"""

import math
from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError

# The three constants of splitmix64 as signed 64-bit integers; multiplication and addition wrap around.
_GAMMA = -7046029254386353131
_MIX1 = -4658895280553007687
_MIX2 = -7723592293110705685
_NARROW, _WIDE = 2**24, 2**53  # up to here `integers` takes 24 bits, and up to here 73
_SHORT = 4096  # a random order of up to so many is that of 24-bit numbers, which almost never tie


def _shift(x: Tensor, bits: int) -> Tensor:
    # A logical shift: torch's shift of a signed integer copies the sign.
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _step(counter: int) -> int:
    # (counter + 1) * _GAMMA as int64 wraps around. A tensor of one number would have to be copied to the device, for
    # which a program waits.
    if not -(2**63) <= counter < 2**63:
        raise OverflowError(f"{counter} does not fit into 64 bits")
    return ((counter + 1) * _GAMMA + 2**63) % 2**64 - 2**63


def _is_integer(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    return type(value) is int


def mix(key: Tensor, counter: Tensor | int) -> Tensor:
    """Return new int64 keys, one for each `counter` of each `key`; the two broadcast."""
    x = key + ((counter + 1) * _GAMMA if isinstance(counter, Tensor) else _step(int(counter)))
    # In place, because on large batches the allocations cost more than the arithmetic.
    x = x.bitwise_xor_(_shift(x, 30)).mul_(_MIX1)
    x = x.bitwise_xor_(_shift(x, 27)).mul_(_MIX2)
    return x.bitwise_xor_(_shift(x, 31))


def sample_keys(seed: int, epoch: int, index: Tensor) -> Tensor:
    """Return the int64 key of each sample: a function of (seed, epoch, index) and of nothing else."""
    return mix(mix(mix(torch.zeros_like(index, dtype=torch.int64), seed), epoch), index)


class KeyedRandom:
    """Draws for a batch, each row from its own key.

    Successive calls give independent numbers, and the n-th call gives the same numbers for the same keys: on every
    device, in every process, for every batch that a sample is put in.

    Args:
        keys: int64 (B,).
    """

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys
        self._call = 0

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def device(self) -> torch.device:
        """Where the numbers are drawn."""
        return self.keys.device

    def bits(self, *shape: int) -> Tensor:
        """Random int64 of (B, *shape)."""
        self._call += 1
        stream = mix(self.keys, self._call).view(-1, 1)
        count = torch.arange(math.prod(shape), device=self.keys.device)
        return mix(stream, count).view(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform float32 in [0, 1) of (B, *shape), with 24 random bits as `torch.rand` has."""
        return _shift(self.bits(*shape), 40).float() * 2.0**-24

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32 of (B, *shape), by the inverse of the distribution function."""
        centred = (_shift(self.bits(*shape), 40).double() + 0.5) * 2.0**-24
        return torch.special.ndtri(centred).float()

    def integers(self, high: Tensor | int, *shape: int) -> Tensor:
        """Uniform int64 in [0, high) of (B, *shape), in integer arithmetic, which every device has.

        Up to 2**24, a value is the integer part of `high` times 24 random bits: the probabilities of two values differ
        by at most 2**-24. Above, it is a remainder of 73 bits, whose probabilities differ by at most 2**-73.

        Args:
            high: 1 to 2**53, or a tensor of such numbers that broadcasts; those of a tensor are not checked.
            shape: of the numbers of each row.

        Raises:
            UsageError: `high` is outside of this range, or no integer.
        """
        if not _is_integer(high):
            raise UsageError(
                f"high is {high!r}, but must be an integer or a tensor of integers: convert it with int() or .long()."
            )
        if isinstance(high, int) and not 1 <= high <= _WIDE:
            raise UsageError(f"high is {high}, but integers are drawn below numbers from 1 to 2**53.")
        bits = self.bits(*shape)
        narrow = (_shift(bits, 40) * high) >> 24
        if isinstance(high, int) and high <= _NARROW:
            return narrow
        # Two steps of a long division, because 73 bits do not fit; a remainder below 2**53 leaves room for ten more.
        wide = ((_shift(bits, 1) % high << 10) + _shift(mix(bits, 0), 54)) % high
        return wide if isinstance(high, int) else torch.where(high <= _NARROW, narrow, wide)

    def order(self, *shape: int) -> Tensor:
        """Float32 in [0, 1) of (B, *shape) whose order is random: for scores of patches, which must not tie.

        Up to 4,096 numbers a row they are those of `uniform`; of more, hundreds of 24 bits would tie, so that their
        ranks among 63 bits take their place, divided by their number.
        """
        length = math.prod(shape)
        if length <= _SHORT:
            return self.uniform(*shape)
        ranks = _shift(self.bits(length), 1).argsort(dim=1).argsort(dim=1)
        return (ranks.float() / length).view(-1, *shape)


def weighted_order(rng: Any, log_weights: Tensor) -> Tensor:
    """Return scores, float64 (B, L), whose ascending order is a draw without replacement (Gumbel top-k).

    Among those that are left each is drawn next with a probability in proportion to its weight.

    Args:
        rng: random numbers of each of the B rows, a `KeyedRandom`.
        log_weights: logarithms of the weights, (B, L).
    """
    gumbel = -(-rng.order(log_weights.shape[1]).double().clamp(min=2**-25).log()).log()
    return -(log_weights + gumbel)
