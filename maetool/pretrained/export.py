"""Exports the encoder of a checkpoint for timm, safetensors or ONNX."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine import ConfigDict
from safetensors.torch import save
from torch import Tensor, nn

from maetool.config.facts import argument_of
from maetool.errors import UsageError
from maetool.ops.geometry import to_size
from maetool.reading import read_file
from maetool.registry import ENCODERS, MODELS
from maetool.weights.checksums import CHECKSUM, UNSEALED, is_broken, sealed
from maetool.weights.formats.plain import as_plain
from maetool.weights.read import safetensors_metadata, weights_of
from maetool.weights.write import to_plain, write_checkpoint
from maetool.writing import check_file, write_file

from .facts import requested_grid, section_in
from .frozen import FrozenEncoder, section_of

_PREFIX = "encoder."
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
    if section_in(state.get("meta")) is None and section is None:
        weights = as_plain(weights)  # as `section_of` describes it
    encoder = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    if not encoder:
        raise UsageError(
            f"{source} holds no encoder: none of its {len(weights)} tensors is called {_PREFIX}something (the first is "
            f"{next(iter(weights))}). Pass a checkpoint that training wrote."
        )
    meta = state.get("meta") or {}
    facts = {"source": source, **{name: meta[name] for name in _FACTS if name in meta}}
    section = section or section_of(state, weights, source, num_heads, requested_grid(weights, img_size))
    return {"meta": {**facts, **describe(section)}, "state_dict": encoder}


def describe(section: ConfigDict) -> dict[str, Any]:
    """Return the information needed to use an encoder: its config, `encoder` and `data_preprocessor`, and `images`.

    Args:
        section: `encoder` and `data_preprocessor` of a config.
    """
    section = ConfigDict({"data_preprocessor": {"type": "ImagePreprocessor"}, **section})
    encoder, preprocessor = section.encoder, section.data_preprocessor
    images = {name: argument_of(preprocessor, MODELS, name) for name in ("mean", "std")}
    images |= {"in_chans": argument_of(encoder, ENCODERS, "in_chans")}
    for name in ("img_size", "patch_size"):
        size = argument_of(encoder, ENCODERS, name)
        images[name] = None if size is None else to_size(size, name)
    return {"encoder": encoder.to_dict(), "data_preprocessor": preprocessor.to_dict(), "images": images}


def check_out(out: str) -> Path:
    """Return the path of an exported file, after checking its suffix.

    Raises:
        UsageError: an unknown suffix.
    """
    if Path(out).suffix not in (".pth", ".safetensors", ".onnx"):
        raise UsageError(f"--out is {out}, but must end in .pth, .safetensors or .onnx.")
    return check_file(out, "--out")


def write_weights(state: Mapping[str, Any], path: Path) -> None:
    """Write `state_dict` and `meta` as .safetensors, with `meta` in its header, or else as a file of torch.

    Raises:
        UsageError: the disk is full or the folder cannot be written.
    """
    if path.suffix != ".safetensors":
        write_checkpoint(state, path)
        return
    weights = {name: value.cpu().contiguous() for name, value in state["state_dict"].items()}
    write_file(path, save(weights, safetensors_metadata(to_plain(state.get("meta", {})), weights)))


def write_onnx(model: FrozenEncoder, meta: Mapping[str, Any], path: Path) -> float | None:
    """Write an encoder as ONNX: `images`, normalised, (batch, C, H, W), to `tokens` (batch, T + L, D), for any batch.

    Height and width are the encoder's. `meta` is stored in the file's metadata, with a checksum of the file. If
    onnxruntime is installed, the graph is run on another batch size and compared before the file is written.

    Returns:
        The largest difference to the tokens of torch; None without onnxruntime.

    Raises:
        UsageError: onnx or onnxscript is not installed, the encoder cannot be exported, or the results differ.
    """
    if not (find_spec("onnx") and find_spec("onnxscript")):
        raise UsageError('ONNX export needs onnx and onnxscript, which are not installed: pip install "maetool[onnx]".')
    import onnx

    encoder = model.encoder.eval()
    size = 4 * sum(value.numel() for value in encoder.state_dict().values())
    if size > _MOST_BYTES:
        raise UsageError(
            f"The encoder has {size / 1e9:.1f} GB, but an ONNX file can hold only 2 GB: export it as .safetensors."
        )
    images = torch.randn(2, encoder.in_chans, *encoder.img_size, generator=torch.Generator().manual_seed(0))
    proto = _graph_of(encoder, images)
    onnx.helper.set_model_props(proto, {_FACTS_IN_ONNX: json.dumps(to_plain(meta)), CHECKSUM: UNSEALED})
    content = sealed(proto.SerializeToString())
    difference = check_onnx(content, encoder, torch.cat([images, images.flip(2), images.flip(3)])[:5])
    write_file(path, content)
    return difference


def _graph_of(encoder: nn.Module, images: Tensor) -> Any:
    """Return the ONNX model of an encoder for any batch of images (B, C, H, W) of this size.

    Raises:
        UsageError: torch cannot export it.
    """
    try:
        with torch.no_grad():
            graph = torch.export.export(
                _Tokens(encoder).eval(), (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
            )
            program = torch.onnx.export(graph, input_names=["images"], output_names=["tokens"], verbose=False)
            return cast(torch.onnx.ONNXProgram, program).model_proto
    except Exception as error:  # the exporters' errors have no common base class
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        raise UsageError(
            f"torch cannot export {type(encoder).__name__} to ONNX ({type(error).__name__}: {reason}): export it as "
            ".safetensors."
        ) from error


def read_onnx_facts(path: str | Path) -> dict[str, Any]:
    """Return `meta` of an ONNX file that `write_onnx` wrote, after checking its checksum.

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
    """Return the largest difference between the tokens of ONNX and those of an encoder; None without onnxruntime.

    Args:
        source: the path of a file, or its content.
        encoder: function from images to tokens.
        images: (B, C, H, W).
        tolerance: the largest allowed difference.

    Raises:
        UsageError: the difference is above `tolerance`.
    """
    if not find_spec("onnxruntime"):
        return None
    (tokens,) = _run_onnx(source, images)
    with torch.no_grad():
        difference = float(np.abs(tokens - encoder(images).numpy()).max())
    if not difference <= tolerance:
        name = "The ONNX graph" if isinstance(source, bytes) else source
        raise UsageError(
            f"{name} gives tokens that differ by {difference:.2g} from the encoder's: export it as "
            ".safetensors instead."
        )
    return difference


def _run_onnx(source: Path | bytes, images: Tensor) -> list[np.ndarray]:
    import onnxruntime

    try:
        model = source if isinstance(source, bytes) else str(source)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return session.run(["tokens"], {"images": images.numpy()})
    except Exception as error:  # onnxruntime's errors have no common base class
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        raise UsageError(
            f"onnxruntime cannot run the graph ({type(error).__name__}: {reason}): use .safetensors."
        ) from error
