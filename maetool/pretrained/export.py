"""Exports the encoder of a checkpoint for timm, safetensors or ONNX."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine import ConfigDict
from safetensors.torch import save
from torch import Tensor, nn

from maetool.config.complete import source_of_images
from maetool.config.facts import argument_of
from maetool.errors import UsageError
from maetool.ops.geometry import rank_of, to_size
from maetool.protocols import ModelLike
from maetool.reading import read_file
from maetool.registry import ENCODERS, MODELS
from maetool.weights.checksums import CHECKSUM, UNSEALED, is_broken, sealed
from maetool.weights.read import safetensors_metadata, weights_of
from maetool.weights.write import to_plain, write_checkpoint
from maetool.writing import check_file, write_file

from .as_built import in_names_of_encoder
from .facts import requested_grid, section_in
from .frozen import section_of
from .model import image_shape_of
from .task import Logits

_PREFIX = "encoder."
_HALF_TOLERANCE = 0.1  # of tokens and logits, which are of the size of 1 to 10; halves have 3 digits
_MOST_BYTES = 2**31 - 2**24  # the limit of protobuf, minus room for the graph
_FACTS_IN_ONNX = "maetool"
_FACTS = ("epoch", "iter", "versions", "cfg", "config", "source", "format")


def encoder_of(
    state: Mapping[str, Any],
    source: str,
    num_heads: int | None = None,
    section: ConfigDict | None = None,
    img_size: int | Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return `state_dict`, the encoder's weights under timm's names, and `meta`, the information needed to use them.

    If the run kept an EMA of its weights, these are the averaged ones. `meta` has the encoder's config, the size, patch
    size, channels, mean and standard deviation of the images, the epoch, the versions and the complete config of the
    run, as far as the checkpoint has them.

    Args:
        state: the result of `read_checkpoint`.
        source: its path, for messages.
        num_heads: see `section_of`.
        section: `encoder` and `data_preprocessor`, if the checkpoint does not describe them.
        img_size: the image size to use, which determines the grid of positions if the checkpoint does not.

    Raises:
        UsageError: the checkpoint holds no encoder, or does not describe it.
    """
    weights = weights_of(state, source)
    is_foreign = section_in(state.get("meta")) is None
    section = section or section_of(state, weights, source, num_heads, requested_grid(weights, img_size))
    weights = in_names_of_encoder(section.encoder, weights) if is_foreign else weights
    encoder = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    if not encoder:
        raise UsageError(
            f"{source} holds no encoder: none of its {len(weights)} tensors is called {_PREFIX}something (the first is "
            f"{next(iter(weights))}). Pass a checkpoint that training wrote."
        )
    meta = state.get("meta") or {}
    facts = {"source": source, **{name: meta[name] for name in _FACTS if name in meta}}
    return {"meta": {**facts, **describe(section)}, "state_dict": encoder}


def describe(section: ConfigDict) -> dict[str, Any]:
    """Return the information needed to use an encoder: its config, `encoder` and `data_preprocessor`, and `images`.

    Args:
        section: `encoder` and `data_preprocessor` of a config.
    """
    section = ConfigDict({"data_preprocessor": {"type": "ImagePreprocessor"}, **section})
    encoder, preprocessor = section.encoder, section.data_preprocessor
    images = {name: argument_of(preprocessor, MODELS, name) for name in ("mean", "std")}
    part, parts = source_of_images(encoder) or (encoder, ENCODERS)  # or its only stem
    images |= {"in_chans": argument_of(part, parts, "in_chans")}
    sizes = {name: argument_of(part, parts, name) for name in ("img_size", "patch_size")}
    rank = rank_of(*(size for size in sizes.values() if size is not None))
    images |= {name: None if size is None else to_size(size, name, rank) for name, size in sizes.items()}
    return {"encoder": encoder.to_dict(), "data_preprocessor": preprocessor.to_dict(), "images": images}


def check_out(out: str, to: str | None = None) -> Path:
    """Return the path of an exported file or folder, after checking its name.

    Args:
        out: the value of --out.
        to: the value of --to; with one, it is a folder.

    Raises:
        UsageError: an unknown suffix, or a folder that is a file.
    """
    is_file = Path(out).suffix in (".pth", ".safetensors", ".onnx")
    if to is not None:
        if is_file or Path(out).is_file():
            raise UsageError(f"--to {to} writes a folder of several files, but --out is {out}: name a folder.")
        check_file(str(Path(out, "config.json")), "--out")
        return Path(out)
    if not is_file:
        raise UsageError(f"--out is {out}, but must end in .pth, .safetensors or .onnx; a folder needs --to.")
    return check_file(out, "--out")


def write_weights(state: Mapping[str, Any], path: Path) -> None:
    """Write `state_dict` and `meta` as .safetensors, with `meta` in its header, or else as a file of torch.

    Args:
        state: holds both; `meta` may be missing.
        path: of the file; its suffix decides.

    Raises:
        UsageError: the disk is full or the folder cannot be written.
    """
    if path.suffix != ".safetensors":
        write_checkpoint(state, path)
        return
    weights = {name: value.cpu().contiguous() for name, value in state["state_dict"].items()}
    write_file(path, save(weights, safetensors_metadata(to_plain(state.get("meta", {})), weights)))


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with those of floating point as float16."""
    return {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}


def write_onnx(
    model: ModelLike,
    meta: Mapping[str, Any],
    path: Path,
    output: str = "tokens",
    dynamic: bool = False,
    half: bool = False,
) -> float | None:
    """Write a model as ONNX, from normalised `images` (batch, C, *size), for any batch.

    `meta` is stored in the file's metadata, with a checksum of the file. If onnxruntime is installed, the graph is run
    on another batch size, and on other sizes if it takes them, and compared before the file is written.

    Args:
        model: an encoder with `image_shape`, or a classifier or segmentor.
        meta: facts to store.
        path: the file.
        output: "tokens" (batch, T + L, D) of its encoder, or "logits", see `maetool.pretrained.task.Logits`.
        dynamic: height and width may be any multiples of the patch size, not only those of the model.
        half: weights, images and tokens are float16; logits are float32.

    Returns:
        The largest difference to torch's float32; None without onnxruntime.

    Raises:
        UsageError: onnx or onnxscript is not installed, the model cannot be exported, or the results differ.
    """
    if not (find_spec("onnx") and find_spec("onnxscript")):
        raise UsageError('ONNX export needs onnx and onnxscript, which are not installed: pip install "maetool[onnx]".')
    import onnx

    module = (Logits(model) if output == "logits" else _Tokens(model.encoder)).eval()
    size = (2 if half else 4) * sum(value.numel() for value in module.state_dict().values())
    if size > _MOST_BYTES:
        raise UsageError(
            f"The model has {size / 1e9:.1f} GB, but an ONNX file can hold only 2 GB: export it as .safetensors."
        )
    images = torch.randn(2, *image_shape_of(model), generator=torch.Generator().manual_seed(0))
    step = _step_of(model, images.ndim - 2) if dynamic else None
    exported = deepcopy(module).half() if half else module
    proto = _graph_of(exported, images.half() if half else images, output, step)
    onnx.helper.set_model_props(proto, {_FACTS_IN_ONNX: json.dumps(to_plain(meta)), CHECKSUM: UNSEALED})
    content = sealed(proto.SerializeToString())
    batches = [torch.cat([images, images.flip(2), images.flip(-1)])[:5]]
    batches += [nn.functional.pad(images, (0, 2 * step[1], 0, step[0]))] if step else []
    differences = [check_onnx(content, module, batch, _HALF_TOLERANCE if half else 1e-3) for batch in batches]
    write_file(path, content)
    return max((value for value in differences if value is not None), default=None)


def _step_of(model: ModelLike, rank: int) -> tuple[int, ...]:
    """Return the sides of a patch, of which height and width may be multiples."""
    if rank != 2:
        raise UsageError(
            "--dynamic lets the height and width of pictures change, but the encoder reads none: leave it out."
        )
    streams: Any = getattr(model.encoder, "streams", None)  # of the channels of one picture
    patch: Any = next(iter(streams.values()))["patch_size"] if streams else model.encoder.patch_size
    return to_size(patch, "patch_size")


def _graph_of(module: nn.Module, images: Tensor, output: str, step: Sequence[int] | None) -> Any:
    """Return the ONNX model of a module for any batch of images (B, C, H, W): of this size, or of multiples of `step`.

    Raises:
        UsageError: torch cannot export it.
    """
    name = type(getattr(module, "encoder", None) or getattr(module, "model", None) or module).__name__
    sides: dict[int, Any] = {0: torch.export.Dim("batch")}
    if step:
        # From a size at which no axis has the length of another, so that they stay apart.
        images = nn.functional.pad(images, (0, 2 * step[1], 0, step[0]))
        rows, columns = (torch.export.Dim(side, min=2) for side in ("rows", "columns"))
        sides |= {2: step[0] * rows, 3: step[1] * columns}
    try:
        with torch.no_grad():
            graph = torch.export.export(module, (images,), dynamic_shapes={"images": sides})
            program = torch.onnx.export(graph, input_names=["images"], output_names=[output], verbose=False)
            return cast(torch.onnx.ONNXProgram, program).model_proto
    except Exception as error:  # the exporters' errors have no common base class
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        remedy = "leave --dynamic out, or export it as .safetensors" if step else "export it as .safetensors"
        raise UsageError(f"torch cannot export {name} to ONNX ({type(error).__name__}: {reason}): {remedy}.") from error


def read_onnx_facts(path: str | Path) -> dict[str, Any]:
    """Return `meta` of an ONNX file that `write_onnx` wrote, after checking its checksum.

    Args:
        path: of the file.

    Raises:
        UsageError: the file does not exist, is damaged, or was not written by maetool.
    """
    import onnx

    try:
        content = read_file(path)
        proto = onnx.load_from_string(content)
        facts = json.loads({prop.key: prop.value for prop in proto.metadata_props}[_FACTS_IN_ONNX])
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror or error}): pass the path of an .onnx file."
        ) from error
    except Exception as error:  # the readers raise anything on damaged files
        raise UsageError(f"{path} is damaged, or not an ONNX file that maetool exported: export it again.") from error
    if is_broken(content):
        raise UsageError(f"{path} is damaged, its checksum does not match: copy it again, or export it again.")
    return facts


class _Tokens(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)


def check_onnx(
    source: Path | bytes, encoder: Callable[[Tensor], Tensor], images: Tensor, tolerance: float = 1e-3
) -> float | None:
    """Return the largest difference between the output of ONNX and that of a model; None without onnxruntime.

    Args:
        source: the path of a file, or its content.
        encoder: function from images to tokens or logits, in float32.
        images: float32 (B, C, H, W).
        tolerance: the largest allowed difference.

    Raises:
        UsageError: the difference is above `tolerance`.
    """
    if not find_spec("onnxruntime"):
        return None
    (output,) = _run_onnx(source, images)
    with torch.no_grad():
        difference = float(np.abs(output.astype(np.float32) - encoder(images).numpy()).max())
    if not difference <= tolerance:
        name = "The ONNX graph" if isinstance(source, bytes) else source
        raise UsageError(
            f"{name} gives values that differ by {difference:.2g} from the model's: export it as .safetensors instead."
        )
    return difference


def _run_onnx(source: Path | bytes, images: Tensor) -> list[np.ndarray]:
    import onnxruntime

    try:
        model = source if isinstance(source, bytes) else str(source)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        half = session.get_inputs()[0].type == "tensor(float16)"
        return session.run(None, {"images": (images.half() if half else images).numpy()})
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        raise UsageError(
            f"onnxruntime cannot run the graph ({type(error).__name__}: {reason}): use .safetensors."
        ) from error
