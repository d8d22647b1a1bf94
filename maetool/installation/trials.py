"""Trials of everything that runs need; `maetool.installation.packages` has the checks without torch."""

import importlib
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from maetool._deprecated import moved
from maetool.compat import cpu_has_bfloat16, usable_cores
from maetool.data.codecs.images import decode_image
from maetool.plugins import load_plugins
from maetool.testing import tiny_batch, tiny_model
from maetool.writing import check_folder

from .packages import ABSENT, FAILS, OK, Finding, attempt, guard

_LITTLE_SPACE = 2e9


def examine(work_dir: str | Path = "work_dirs", slow: bool = False) -> Iterator[Finding]:
    """Try everything that runs need, and yield each result.

    Args:
        work_dir: folder of runs, which is tested.
        slow: also test `torch.compile`, which takes up to a minute.
    """
    yield from guard("plugins", plugins, "pip check; reinstall packages with broken metadata")
    yield from guard("devices", devices)
    yield attempt("decoding a JPEG file", _decode)
    yield attempt("a loader worker", _load_data, "give a container more shared memory: docker run --shm-size=8g")
    yield attempt(f"writing to {work_dir}", lambda: _write(Path(work_dir)), "choose another --work-dir")
    yield attempt("communication of processes", _communicate, "torch without distributed can run only one process")
    if slow:
        cure = "install a C++ compiler (apt install g++), or keep the default compile=False"
        yield attempt("torch.compile", _compile, cure, needed=False)


def devices() -> Iterator[Finding]:
    """Try a training step on each device, also in bfloat16 if the device supports it."""
    cuda = torch.cuda.is_available()
    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if cuda else 0))]
    for device in names:
        yield attempt(f"a training step, {device}", partial(_train, device, torch.float32))
        if device != "cpu" or cpu_has_bfloat16():
            yield attempt(f"a training step, {device}, bfloat16", partial(_train, device, torch.bfloat16))
    if not cuda:
        yield Finding(ABSENT, "GPU", _why_no_gpu(), "runs work on the CPU; else https://pytorch.org/get-started")


def plugins() -> Iterator[Finding]:
    """Check the plugins."""
    report = load_plugins()
    for name in report.loaded:
        yield Finding(OK, f"plugin {name}", "loaded")
    for name, reason in report.failed.items():
        yield Finding(FAILS, f"plugin {name}", reason, "repair it, or uninstall its package")


def _train(device: str, dtype: torch.dtype) -> str:
    model = tiny_model().to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        with torch.autocast(device.split(":")[0], dtype, enabled=dtype != torch.float32):
            loss = model(**model.data_preprocessor(tiny_batch()))["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    if not losses[1] < losses[0]:
        raise ArithmeticError(f"the loss went from {losses[0]:.4f} to {losses[1]:.4f}")
    if device == "cpu":
        return f"loss {losses[0]:.4f} -> {losses[1]:.4f}; {usable_cores()} cores"
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    return f"loss {losses[0]:.4f} -> {losses[1]:.4f}; {torch.cuda.get_device_name(device)}, {memory:.0f} GiB"


def _why_no_gpu() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} was built without CUDA"
    return f"torch was built for CUDA {torch.version.cuda}, but finds no device (nvidia-smi shows whether there is one)"


def _decode() -> str:
    picture = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    image = decode_image(cv2.imencode(".jpg", picture)[1].tobytes())
    return f"OpenCV {cv2.__version__} gives {tuple(image.shape)}"


def _load_data() -> str:
    loader = DataLoader(TensorDataset(torch.zeros(8, 3, 512, 512)), batch_size=4, num_workers=1, timeout=120)
    return f"{sum(len(batch) for (batch,) in loader)} images came through shared memory"


def _write(work_dir: Path) -> str:
    check_folder(work_dir, "--work-dir")
    existing = next(folder for folder in [work_dir, *work_dir.resolve().parents] if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < _LITTLE_SPACE:
        raise OSError(f"only {free / 1e9:.1f} GB are free, but two checkpoints of a ViT-B take 2.7 GB")
    return f"{free / 1e9:,.0f} GB free"


def _communicate() -> str:
    distributed = importlib.import_module("torch.distributed")
    backends = [name for name in ("gloo", "nccl") if getattr(distributed, f"is_{name}_available")()]
    if distributed.is_initialized():
        return ", ".join(backends)
    with tempfile.TemporaryDirectory() as folder:
        store = distributed.FileStore(str(Path(folder, "store")), 1)
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            distributed.all_reduce(torch.ones(1))
        finally:
            distributed.destroy_process_group()
    return ", ".join(backends)


def _compile() -> str:
    x = torch.randn(64)
    torch.testing.assert_close(torch.compile(lambda x: torch.sin(x) + 1)(x), torch.sin(x) + 1)
    return "a function was compiled and returned equal values"


__getattr__ = moved(
    __name__,
    {"packages": "maetool.installation.packages.packages", "to_lines": "maetool.installation.packages.to_lines"},
    "0.3.0",
)
