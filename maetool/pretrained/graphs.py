"""Writes models as ONNX, and compares each graph with its model before it is written."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.compat import is_installed
from maetool.errors import UsageError
from maetool.ops.geometry import to_size
from maetool.protocols import ModelLike
from maetool.reading import read_file
from maetool.weights.checksums import CHECKSUM, UNSEALED, is_broken, sealed
from maetool.weights.write import to_plain
from maetool.writing import write_file

from .detections import difference_of_detections
from .model import image_shape_of
from .task import graph_module

# The largest difference of outputs, which are of the size of 1 to 10; halves have 3 digits, 8-bit integers 2.
_TOLERANCES = {"float32": 1e-3, "float16": 0.1, "int8": 1.0}
_MOST_BYTES = 2**31 - 2**24  # the limit of protobuf, minus room for the graph
_MOST_IMAGES, _MOST_PATCHES = 2**16, 2**12  # of a batch, and along a side: products of unbounded ones overflow
_FACTS_IN_ONNX = "maetool"


def write_onnx(
    model: ModelLike,
    meta: Mapping[str, Any],
    path: Path,
    output: Literal["tokens", "predictions", "logits"] = "tokens",
    dynamic: bool = False,
    half: bool = False,
    int8: bool = False,
) -> float | None:
    """Write a model as ONNX, from normalised `images` (batch, C, *size), for any batch.

    `meta` is stored in the file's metadata, with a checksum of the file. If onnxruntime is installed, the graph is run
    on another batch size, and on other sizes if it takes them, and compared before the file is written.

    Args:
        model: an encoder with `image_shape`, or a classifier, regressor, segmentor or detector.
        meta: facts to store.
        path: the file.
        output: "tokens" (batch, T + L, D) of its encoder; or "predictions", of which "logits" is another name, those
            of the complete model, see `maetool.pretrained.task.graph_module`.
        dynamic: height and width may be any multiples of the patch size, not only those of the model.
        half: weights, images and tokens are float16; predictions are float32.
        int8: weights of linear maps are 8-bit integers, by onnxruntime's dynamic quantisation.

    Returns:
        The largest difference to torch's float32; None without onnxruntime.

    Raises:
        UsageError: onnx, onnxscript or what `int8` needs is not installed, the model cannot be exported, or the results
            differ.
    """
    _check_installed(int8)
    if half and int8:
        raise UsageError("half and int8 are both set, but a graph has one precision: leave one of them out.")
    module, names = graph_module(model, output != "tokens")
    _check_bytes(module, 2 if half else 4)
    images = torch.randn(2, *image_shape_of(model), generator=torch.Generator().manual_seed(0))
    step = _step_of(model, images.ndim - 2) if dynamic else None
    exported = deepcopy(module).half() if half else module
    proto = _graph_of(exported, images.half() if half else images, names, step)
    content = _with_facts(_in_int8(proto) if int8 else proto, meta)
    batches = [torch.cat([images, images.flip(2), images.flip(-1)])[:5]]
    # One grows along both sides, as the images that the graph was traced with, and one along the other side.
    batches += [pad(images, size) for size in ((0, 2 * step[1], 0, step[0]), (0, 0, 0, 3 * step[0]))] if step else []
    tolerance = _TOLERANCES["float16" if half else "int8" if int8 else "float32"]
    differences = [check_onnx(content, module, batch, tolerance) for batch in batches]
    write_file(path, content)
    return max((value for value in differences if value is not None), default=None)


def _check_installed(int8: bool) -> None:
    needed = ["onnx", "onnxscript", *["onnxruntime"] * int8]
    if missing := [name for name in needed if not is_installed(name)]:
        raise UsageError(
            f'ONNX export needs {" and ".join(needed)}, but {missing[0]} is not installed: pip install "maetool[onnx]".'
        )


def _check_bytes(module: nn.Module, each: int) -> None:
    size = each * sum(value.numel() for value in module.state_dict().values())
    if size > _MOST_BYTES:
        raise UsageError(
            f"The model has {size / 1e9:.1f} GB, but an ONNX file can hold only 2 GB: export it as .safetensors."
        )


def _step_of(model: ModelLike, rank: int) -> tuple[int, ...]:
    """Return the sides of a patch, of which height and width may be multiples."""
    if rank != 2:
        raise UsageError(
            "--dynamic lets the height and width of pictures change, but the encoder reads none: leave it out."
        )
    streams: Any = getattr(model.encoder, "streams", None)  # of the channels of one picture
    patch: Any = next(iter(streams.values()))["patch_size"] if streams else model.encoder.patch_size
    return to_size(patch, "patch_size")


def _graph_of(module: nn.Module, images: Tensor, names: Sequence[str], step: Sequence[int] | None) -> Any:
    """Return the ONNX model of a module for any batch of images (B, C, H, W): of this size, or of multiples of `step`.

    Raises:
        UsageError: torch cannot export it.
    """
    name = type(getattr(module, "encoder", None) or getattr(module, "model", None) or module).__name__
    sides: dict[int, Any] = {0: torch.export.Dim("batch", max=_MOST_IMAGES)}
    if step:
        # From a size at which no axis has the length of another, so that they stay apart.
        images = pad(images, (0, 2 * step[1], 0, step[0]))
        rows, columns = (torch.export.Dim(side, min=2, max=_MOST_PATCHES) for side in ("rows", "columns"))
        sides |= {2: step[0] * rows, 3: step[1] * columns}
    try:
        with torch.no_grad():
            graph = torch.export.export(module, (images,), dynamic_shapes={"images": sides})
            program = torch.onnx.export(graph, input_names=["images"], output_names=list(names), verbose=False)
            return cast(torch.onnx.ONNXProgram, program).model_proto
    except Exception as error:  # the exporters' errors have no common base class
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        remedy = "leave --dynamic out, or export it as .safetensors" if step else "export it as .safetensors"
        raise UsageError(f"torch cannot export {name} to ONNX ({type(error).__name__}: {reason}): {remedy}.") from error


def _in_int8(proto: Any) -> Any:
    """Return an ONNX model whose matrices of weights are 8-bit integers; activations are quantised as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "int8.onnx")
        quantize_dynamic(proto, out, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
        quantised = onnx.load(out)
    if not any(node.op_type == "MatMulInteger" for node in quantised.graph.node):
        raise UsageError("onnxruntime quantises no layer of this model: leave --int8 out.")
    return quantised


def _with_facts(proto: Any, meta: Mapping[str, Any]) -> bytes:
    import onnx

    onnx.helper.set_model_props(proto, {_FACTS_IN_ONNX: json.dumps(to_plain(meta)), CHECKSUM: UNSEALED})
    return sealed(proto.SerializeToString())


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


def check_onnx(
    source: Path | bytes, model: Callable[[Tensor], Any], images: Tensor, tolerance: float = 1e-3
) -> float | None:
    """Return the largest difference between the output of ONNX and that of a model; None without onnxruntime.

    Args:
        source: the path of a file, or its content.
        model: function from images to one tensor, or to a tuple of detections; in float32.
        images: float32 (B, C, H, W).
        tolerance: the largest allowed difference.

    Raises:
        UsageError: the difference is above `tolerance`.
    """
    if not is_installed("onnxruntime"):
        return None
    outputs = _run_onnx(source, images)
    with torch.no_grad():
        expected = model(images)
    if isinstance(expected, Tensor):
        difference = float(np.abs(outputs[0].astype(np.float32) - expected.numpy()).max())
    else:
        difference = difference_of_detections([torch.from_numpy(each) for each in outputs], expected)
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
