"""What a set of images is like: channels, sizes, mean and deviation, and the files that are broken."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.codecs.options import AS_STORED, ReadOptions
from maetool.data.codecs.remarks import Remarks
from maetool.data.sources.base import Source

from .pixels import Broken, Look, look_at, usual_channels

_STACK = 16  # channels of an array, from which a stack of pictures is likelier than bands


@dataclass
class Statistics:
    """What was found in a set of images.

    Attributes:
        in_chans: channels that mean and deviation are of.
        options: how the images were read.
        channels: number of channels to number of files that hold so many.
        arrays: files that are arrays, not photographs.
        sizes: (H, W) of every readable image.
        eight_bit: whether every image holds 8-bit values.
        whole: whether all values are whole numbers.
        grey: files whose channels are all equal.
        gaps: files with pixels without data.
        uniform: files each channel of which has one value everywhere.
        lowest, highest: of all values, in the stored unit.
        mean: of each channel, in the units of the stored values; every image counts the same.
        std: the same for the standard deviation.
        broken: "path: reason" of each file that cannot be read with `in_chans` channels.
        remarks: what a training would log of the files.
    """

    in_chans: int
    options: ReadOptions = AS_STORED
    channels: Counter[int] = field(default_factory=Counter)
    arrays: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    eight_bit: bool = True
    whole: bool = True
    grey: int = 0
    gaps: int = 0
    uniform: int = 0
    lowest: float = float("inf")
    highest: float = float("-inf")
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sums: list[np.ndarray] = []
        # What a training would log, which reads gaps as values unless it is told of them.
        self.remarks = Remarks(self.options._replace(gaps=False))

    @property
    def mixes_bits(self) -> bool:
        """Whether some photographs have more than 8 bits, and everything else 8."""
        deep = self.remarks.counts["deep"]
        return 0 < deep < len(self.sizes) and self.remarks.counts["floats"] == deep

    def add(self, look: Look | Broken) -> None:
        """Take in the `look` at a file; `mean` and `std` wait for `finish`."""
        if isinstance(look, Broken):
            self.broken.append(look.line)
            return
        self.channels[look.channels] += 1
        self.arrays += look.array
        self.eight_bit &= look.eight_bit
        self.whole &= look.whole
        self.grey += look.grey
        self.gaps += look.gaps
        self.uniform += look.uniform
        self.lowest, self.highest = min(self.lowest, look.lowest), max(self.highest, look.highest)
        self.sizes.append(look.size)
        self.remarks.add(look.traits)
        self._sums.append(look.moments)

    def finish(self) -> "Statistics":
        """Compute mean and deviation of what was taken in."""
        if self._sums:
            mean, square = np.mean(self._sums, axis=0)  # (C,) each
            self.mean, self.std = mean.tolist(), np.sqrt(np.maximum(square - mean**2, 0)).tolist()
        return self


def measure(
    files: Source,
    indices: Iterable[int],
    in_chans: int | None = None,
    workers: int = 1,
    tell: Callable[[], object] = lambda: None,
    max_pixels: int = MAX_PIXELS,
) -> Statistics:
    """Return the statistics of some files.

    Args:
        files: the images.
        indices: which of them.
        in_chans: channels to read them with; None takes 3, or the commonest number where there are arrays.
        workers: threads that read and decode.
        tell: called after each file.
        max_pixels: see `decode_image`.
    """
    indices = list(indices)
    in_chans = in_chans or usual_channels(files, indices[:: max(1, len(indices) // 100)], max_pixels)
    found = Statistics(in_chans)
    for look in look_at(files, indices, in_chans, workers, max_pixels):
        tell()
        found.add(look)
    return found.finish()


def to_text(found: Statistics, total: int) -> str:
    """Return the statistics as lines for a terminal, and the options to paste.

    Args:
        found: what `measure` returned.
        total: files that there are.
    """
    read = len(found.sizes) + len(found.broken)
    part = "" if read == total else f", {read:,} of them read"
    lines = [f"{total:,} files{part}, {len(found.broken):,} unreadable"]
    lines += [f"  {line}" for line in found.broken[:10]]
    lines += [f"  and {len(found.broken) - 10:,} more"] if len(found.broken) > 10 else []
    if not found.sizes:
        return "\n".join(lines)
    counts = ", ".join(f"{number} in {count:,} files" for number, count in sorted(found.channels.items()))
    units = "0 to 255" if found.eight_bit else "stored values"
    lines += [f"channels    {counts}; read as {found.in_chans}", f"sizes       {sizes_of(found)} (height x width)"]
    lines += [f"mean        {numbers(found.mean)} ({units})", f"deviation   {numbers(found.std)}", "", *_hints(found)]
    return "\n".join([*lines, "--cfg-options " + " ".join(options_for(found))])


def options_for(found: Statistics, flat: float = 0.0) -> list[str]:
    """Return the options of a config that fit the images, each `key=value`.

    Args:
        found: what `measure` returned.
        flat: the deviation of a channel that has one value everywhere.
    """
    options = [] if found.in_chans == 3 else [f"model.encoder.in_chans={found.in_chans}"]
    deviations = [deviation or flat for deviation in found.std]
    values = {"mean": found.mean, "std": deviations}
    return options + [f"model.data_preprocessor.{name}={numbers(value)}" for name, value in values.items()]


def _hints(found: Statistics) -> list[str]:
    hints = []
    if set(found.channels) == {1} and found.in_chans == 3:
        hints.append("All images are grey: --in-chans 1 gives the options for one channel.")
    if stack := stack_in(found):
        hints.append(stack)
    flat = flat_channels(found)
    if flat:
        names = ", ".join(map(str, flat))
        hints.append(f"Channel {names} has one value everywhere: leave it out, or give it the deviation 1.")
    return hints


def stack_in(found: Statistics) -> str | None:
    """Return a sentence that asks whether the channels of arrays are pictures of their own, or None.

    Args:
        found: what `measure` returned.
    """
    most = max(found.channels)
    if not found.arrays or most < _STACK:
        return None
    return (
        f"There are arrays of {most} channels: if they are {most} pictures, slices or frames and not bands, read them "
        "one by one by FrameSource, or write a file for each."
    )


def flat_channels(found: Statistics) -> list[int]:
    """Return the channels that have one value everywhere, by the statistics `found`."""
    return [i for i, deviation in enumerate(found.std) if deviation == 0]


def sizes_of(found: Statistics) -> str:
    """Return the smallest, the median and the largest size in the statistics `found`, in words."""
    ordered = sorted(found.sizes, key=lambda size: (size[0] * size[1], size))
    named = {"smallest": ordered[0], "median": ordered[len(ordered) // 2], "largest": ordered[-1]}
    if len(set(ordered)) == 1:
        return f"all {ordered[0][0]}x{ordered[0][1]}"
    return ", ".join(f"{name} {height}x{width}" for name, (height, width) in named.items())


def numbers(values: list[float]) -> str:
    """Return the numbers `values` as an option of a command line takes them."""
    return "[" + ",".join(f"{value:.6g}" for value in values) + "]"
