"""What a set of images is like: channels, sizes, mean and deviation, and the files that are broken."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from maetool.data.codecs.arrays import array_shape, is_array
from maetool.data.codecs.image_size import MAX_PIXELS, most_bytes, open_by_pillow
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.sources.base import Source

# Channels of the modes of Pillow: as `decode_image` gives them, and what it drops.
_GREY = ("1", "L", "LA", "I", "I;16", "F")


@dataclass
class Statistics:
    """What was found in a set of images.

    Attributes:
        in_chans: channels that mean and deviation are of.
        channels: number of channels to number of files that hold so many.
        arrays: files that are arrays, not photographs.
        sizes: (H, W) of every readable image.
        eight_bit: whether every image holds 8-bit values.
        mean: of each channel, in the units of the stored values; every image counts the same.
        std: the same for the standard deviation.
        broken: "path: reason" of each file that cannot be read with `in_chans` channels.
    """

    in_chans: int
    channels: Counter[int] = field(default_factory=Counter)
    arrays: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    eight_bit: bool = True
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


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
    in_chans = in_chans or _usual_channels(files, indices[:: max(1, len(indices) // 100)], max_pixels)
    found, sums = Statistics(in_chans), []
    with ThreadPoolExecutor(workers) as pool:
        for one in pool.map(lambda index: _measure_one(files, index, in_chans, max_pixels), indices):
            tell()
            if isinstance(one, str):
                found.broken.append(one)
                continue
            found.channels[one["channels"]] += 1
            found.arrays += one["array"]
            found.eight_bit &= one["eight_bit"]
            found.sizes.append(one["size"])
            sums.append(one["moments"])
    if sums:
        mean, square = np.mean(sums, axis=0)  # (C,) each
        found.mean, found.std = mean.tolist(), np.sqrt(np.maximum(square - mean**2, 0)).tolist()
    return found


def _measure_one(files: Source, index: int, in_chans: int, max_pixels: int) -> dict | str:
    try:
        path, data = files.read(index, most_bytes(max_pixels))
        image = decode_image(data, in_chans, name=path, max_pixels=max_pixels)  # (C, H, W)
        channels = channels_of(data, path)
    except UnreadableImage as error:
        return str(error)
    pixels = image.flatten(1).double() if image.numel() < 2**22 else image.flatten(1).float()
    var, mean = torch.var_mean(pixels, dim=1, correction=0)
    return {
        "channels": channels,
        "array": is_array(data),
        "eight_bit": image.dtype == torch.uint8,
        "size": tuple(image.shape[1:]),
        "moments": torch.stack([mean, var + mean**2]).double().numpy(),  # (2, C)
    }


def _usual_channels(files: Source, indices: Iterable[int], max_pixels: int) -> int:
    counts: Counter[int] = Counter()
    for index in indices:
        try:
            path, data = files.read(index, most_bytes(max_pixels))
            counts[channels_of(data, path) if is_array(data) else 3] += 1
        except UnreadableImage:
            continue
    return counts.most_common(1)[0][0] if counts else 3


def channels_of(data: bytes, name: str) -> int:
    """Return how many channels an image holds; alpha is not counted, a palette is 3.

    Of an array with three axes the shorter of the first and the last is taken for the channels.

    Args:
        data: content of the file.
        name: what errors call it.

    Raises:
        UnreadableImage: the bytes are no image.
    """
    try:
        if is_array(data):
            shape = array_shape(data)
            return 1 if len(shape) == 2 else min(shape[0], shape[-1])
        with open_by_pillow(data, None) as image:
            return 1 if image.mode in _GREY else 3
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise UnreadableImage(name, error) from error


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
    lines += [f"channels    {counts}; read as {found.in_chans}", f"sizes       {_sizes(found.sizes)} (height x width)"]
    lines += [f"mean        {_numbers(found.mean)} ({units})", f"deviation   {_numbers(found.std)}", "", *_hints(found)]
    options = [] if found.in_chans == 3 else [f"model.encoder.in_chans={found.in_chans}"]
    options += [f"model.data_preprocessor.{name}={_numbers(getattr(found, name))}" for name in ("mean", "std")]
    return "\n".join([*lines, "--cfg-options " + " ".join(options)])


def _hints(found: Statistics) -> list[str]:
    hints = []
    if set(found.channels) == {1} and found.in_chans == 3:
        hints.append("All images are grey: --in-chans 1 gives the options for one channel.")
    flat = [str(i) for i, deviation in enumerate(found.std) if deviation == 0]
    if flat:
        hints.append(f"Channel {', '.join(flat)} has one value everywhere: leave it out, or give it the deviation 1.")
    return hints


def _sizes(sizes: list[tuple[int, int]]) -> str:
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    named = {"smallest": ordered[0], "median": ordered[len(ordered) // 2], "largest": ordered[-1]}
    if len(set(sizes)) == 1:
        return f"all {ordered[0][0]}x{ordered[0][1]}"
    return ", ".join(f"{name} {height}x{width}" for name, (height, width) in named.items())


def _numbers(values: list[float]) -> str:
    return "[" + ",".join(f"{value:.6g}" for value in values) + "]"
