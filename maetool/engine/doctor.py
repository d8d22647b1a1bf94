"""What works here and what does not, each found out by trying it."""

import importlib
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from maetool.compat import cpu_has_bfloat16, usable_cores
from maetool.data.image_io import decode_image
from maetool.plugins import load_plugins
from maetool.testing import tiny_batch, tiny_model

from .files import replace_file

OK, FAILS, ABSENT = "ok", "FAILS", "absent"
_LITTLE_SPACE = 2e9


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing.

    Attributes:
        state: "ok", "FAILS" for what maetool needs, or "absent" for what it can do without.
        name: what was tried.
        found: versions, devices, or why it does not work.
        cure: the line to type, or what to do; empty where nothing is wrong.
    """

    state: str
    name: str
    found: str
    cure: str = ""


def examine(work_dir: str | Path = "work_dirs", slow: bool = False) -> Iterator[Finding]:
    """Yield what works and what does not, one thing after the other.

    Args:
        work_dir: where runs would write.
        slow: try `torch.compile` too, which takes up to a minute.
    """
    yield from packages()
    yield from plugins()
    cuda = torch.cuda.is_available()
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if cuda else 0))]
    for device in devices:
        yield attempt(f"a training step, {device}", lambda device=device: _train(device, torch.float32))
        if device != "cpu" or cpu_has_bfloat16():
            yield attempt(f"a training step, {device}, bfloat16", lambda device=device: _train(device, torch.bfloat16))
    if not cuda:
        yield Finding(ABSENT, "GPU", _why_no_gpu(), "runs work on the CPU; else https://pytorch.org/get-started")
    yield attempt("decoding a JPEG file", _decode)
    yield attempt(
        "a process that loads data", _load_data, "a container needs more shared memory: docker run --shm-size=8g"
    )
    yield attempt(f"writing to {work_dir}", lambda: _write(Path(work_dir)), "choose another --work-dir")
    yield attempt("processes that work together", _communicate, "torch without distributed runs one process only")
    if slow:
        cure = "install a C++ compiler (apt install g++), or leave compile=False, as it is by default"
        yield attempt("torch.compile", _compile, cure, needed=False)


def attempt(name: str, work: Callable[[], str], cure: str = "", needed: bool = True) -> Finding:
    """Try something and return what came of it; whatever goes wrong is the finding."""
    try:
        return Finding(OK, name, work())
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        return Finding(FAILS if needed else ABSENT, name, f"{type(error).__name__}: {reason}", cure)


def packages() -> Iterator[Finding]:
    """Yield Python, the packages that maetool needs, and those that it can use."""
    machine = f"{platform.system()} {platform.machine()}, {usable_cores()} cores"
    new = sys.version_info >= (3, 10)
    yield Finding(
        OK if new else FAILS, "Python", f"{platform.python_version()}, {machine}", "" if new else "needs 3.10"
    )
    try:
        wanted = requires("maetool") or []
    except PackageNotFoundError:
        yield Finding(FAILS, "maetool", "it is not installed, only found on the path", "pip install -e .")
        return
    for line in wanted:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        if (extra and extra[1] in ("test", "dev")) or "python_version" in marker:
            continue
        yield _package(requirement, extra[1] if extra else None)
    for name, ours in (("mmengine", "onedl-mmengine"), ("mmcv", "onedl-mmcv")):
        if _version(name) and _version(ours):
            cure = f"pip uninstall -y {name} && pip install --force-reinstall --no-deps {ours}"
            yield Finding(FAILS, name, f"{name} {_version(name)} lies over {ours} {_version(ours)}", cure)


def _package(requirement: str, extra: str | None) -> Finding:
    name, least = re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", requirement).groups()
    found = _version(name)
    label = f"{name} (for {extra})" if extra else name
    if found and _numbers(found) >= _numbers(least):
        return Finding(OK, label, found)
    told = f"{found}, but {least} or newer is needed" if found else "not installed"
    return Finding(ABSENT if extra else FAILS, label, told, f'pip install "{name}>={least}"')


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text.split("+")[0])[:3]]


def plugins() -> Iterator[Finding]:
    """Yield the plugins, loaded or not."""
    report = load_plugins()
    for name in report.loaded:
        yield Finding(OK, f"plugin {name}", "loaded")
    for name, reason in report.failed.items():
        yield Finding(FAILS, f"plugin {name}", reason, "repair it, or uninstall the package that it comes with")


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
        return f"loss {losses[0]:.4f} -> {losses[1]:.4f}"
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    return f"loss {losses[0]:.4f} -> {losses[1]:.4f}; {torch.cuda.get_device_name(device)}, {memory:.0f} GiB"


def _why_no_gpu() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} was built without CUDA"
    return f"torch was built for CUDA {torch.version.cuda}, but finds no device (nvidia-smi says whether there is one)"


def _decode() -> str:
    picture = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    image = decode_image(cv2.imencode(".jpg", picture)[1].tobytes())
    return f"OpenCV {cv2.__version__} gives {tuple(image.shape)}"


def _load_data() -> str:
    loader = DataLoader(TensorDataset(torch.zeros(8, 3, 512, 512)), batch_size=4, num_workers=1, timeout=120)
    return f"{sum(len(batch) for (batch,) in loader)} images came through shared memory"


def _write(work_dir: Path) -> str:
    existing = next(folder for folder in [work_dir, *work_dir.resolve().parents] if folder.is_dir())
    with tempfile.TemporaryDirectory(dir=existing) as folder:
        replace_file(Path(folder, "probe"), lambda file: file.write(b"probe"))
    free = shutil.disk_usage(existing).free
    if free < _LITTLE_SPACE:
        raise OSError(f"only {free / 1e9:.1f} GB are free; two checkpoints of a ViT-B take 2.7 GB")
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
    return "a function was compiled and gave the same numbers"


def to_lines(finding: Finding) -> str:
    """Return a finding as a line for a terminal, and a second one with the cure."""
    line = f"{finding.state:7} {finding.name:36} {finding.found}"
    return f"{line}\n        -> {finding.cure}" if finding.cure else line
