"""What the checksum of an exported encoder costs when the file is read."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine import ConfigDict
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from maetool.pretrained.encoder import load_encoder
from maetool.pretrained.export import describe, write_weights
from maetool.pretrained.frozen import build_frozen
from maetool.weights.read import read_checkpoint

_SHAPE = {"depth": 12, "embed_dim": 384, "num_heads": 6}  # of ViT-S


def run(rounds: int, **shape: int) -> tuple[str, dict[str, Any]]:
    """Read the same encoder with and without a checksum in turn, from the memory in which the system keeps files.

    A disk adds the same time to both. The seconds are those of this process, so that others disturb them little.

    Args:
        rounds: of each kind.
        shape: of the encoder; ViT-S by default.
    """
    section = ConfigDict(encoder={"type": "VisionTransformer", **_SHAPE, **shape})
    model = build_frozen(section)
    seconds: dict[str, list[float]] = {}
    place = torch.empty(max(value.numel() for value in model.encoder.state_dict().values()))
    with TemporaryDirectory() as folder:
        checked, plain = (Path(folder, name) for name in ("checked.safetensors", "plain.safetensors"))
        write_weights({"state_dict": model.encoder.state_dict(), "meta": describe(section)}, checked)
        _without_checksum(checked, plain)
        for number in range(rounds):
            files = [("without", plain), ("with", checked)][:: 1 if number % 2 else -1]  # each is first in turn
            for what, function in {"read_checkpoint": partial(_read, place), "load_encoder": load_encoder}.items():
                for name, path in files:
                    seconds.setdefault(f"{what} {name}", []).append(_seconds(function, path))
        megabytes = checked.stat().st_size / 1e6
    lines = [f"{megabytes:.0f} MB, {rounds} rounds, milliseconds of the processor (median)"]
    lines.append(f"{'':<16} {'without':>8} {'with':>8} {'more':>8}")
    for what in ("read_checkpoint", "load_encoder"):
        without, checked_too = (1000 * median(seconds[f"{what} {name}"]) for name in ("without", "with"))
        lines.append(f"{what:<16} {without:>8.1f} {checked_too:>8.1f} {checked_too / without - 1:>8.1%}")
    return "\n".join(lines), {"megabytes": megabytes, "seconds": seconds}


def _read(place: Tensor, path: Path) -> None:
    """Read a file and copy every number of it, which a file that is mapped into memory does not do by itself.

    The copies go to the same place: new memory, which the system sometimes has to clear, can take longer than reading.
    """
    for value in read_checkpoint(path)["state_dict"].values():
        place[: value.numel()].copy_(value.flatten())


def _without_checksum(source: Path, out: Path) -> None:
    with safe_open(source, "pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if not name.endswith("checksum")}
        save_file({name: file.get_tensor(name) for name in file.keys()}, out, metadata)  # noqa: SIM118


def _seconds(function: Callable[[Path], Any], path: Path) -> float:
    began = time.process_time()
    function(path)
    return time.process_time() - began
