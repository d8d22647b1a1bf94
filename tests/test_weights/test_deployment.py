"""Each cell of the table in docs/deployment.md: what is exported, traced, quantised and counted, and what is not."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection.roi_heads import paste_masks_in_image

from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.models import ImageClassifier, ImageRegressor, ObjectDetector, Segmentor
from maetool.ops import cpu
from maetool.pretrained import graphs
from maetool.pretrained.detections import Detections
from maetool.pretrained.graphs import check_onnx, write_onnx
from maetool.pretrained.task import graph_module
from maetool.registry import ENCODERS

PAGE = Path(__file__).parents[2] / "docs/deployment.md"
VIT = {"type": "VisionTransformer", "img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
SMALL = {"img_size": 32, "embed_dim": 32, "num_heads": 2}
ENCODER_SECTIONS = {
    "VisionTransformer": VIT,
    "WindowedTransformer": {**VIT, "type": "WindowedTransformer", "window_size": 3, "global_blocks": (), "depth": 1},
    "HybridTransformer": {"type": "HybridTransformer", "img_size": 32, "conv_dims": (8, 16), "embed_dim": 24}
    | {"depth": 1, "num_heads": 2},
    "SwinTransformer": {"type": "SwinTransformer", "img_size": 32, "patch_size": 4, "embed_dim": 8, "depths": (1, 1)}
    | {"num_heads": (1, 2), "window_size": 4},
    "TimmEncoder": {"type": "TimmEncoder", "name": "vit_base_patch16_224", **SMALL, "patch_size": 8, "depth": 1},
}
MODELS = {
    "ImageClassifier": (ImageClassifier, {"num_classes": 3}),
    "ImageRegressor": (ImageRegressor, {"num_targets": 2}),
    "Segmentor": (Segmentor, {"num_classes": 3, "decode_head": {"type": "LinearMapHead"}}),
    "ObjectDetector": (
        ObjectDetector,
        {"num_classes": 3, "channels": 8, "hidden_dim": 16, "num_proposals": 12, "score_threshold": 0.2},
    ),
}
COLUMNS = ["ONNX", "any height and width", "float16", "int8", "torch.export", "torch.jit.trace", "FLOP counter"]
OTHER_SIZES = [(3, 3, 32, 48), (1, 3, 64, 40)]


def cells():
    """Return whether the table says "yes", by (row, column)."""
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines()]
    header = next(number for number, row in enumerate(rows) if row == ["model", *COLUMNS])
    table = {}
    for row in rows[header + 2 :]:
        if len(row) != 1 + len(COLUMNS):
            return table
        table |= {
            (row[0], column): {"yes": True, "no": False}[cell] for column, cell in zip(COLUMNS, row[1:], strict=True)
        }
    return table


CELLS = cells()
ROWS = [*ENCODER_SECTIONS, *MODELS]


@cache
def built(row):
    """Return a model of a row with random weights, in evaluation mode."""
    torch.manual_seed(0)
    if row in MODELS:
        cls, arguments = MODELS[row]
        model = cls(encoder=dict(VIT), **arguments)
    else:
        model = torch.nn.Module()
        model.encoder = ENCODERS.build(dict(ENCODER_SECTIONS[row]))
    for value in model.parameters():
        value.data += 0.1 * torch.randn_like(value)
    return model.requires_grad_(False).eval()


def module_of(row):
    return graph_module(deepcopy(built(row)), row in MODELS)[0]


def write(row, tmp_path, **options):
    return write_onnx(
        deepcopy(built(row)), {}, tmp_path / "x.onnx", "predictions" if row in MODELS else "tokens", **options
    )


def images(*size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(1))


def test_every_cell_has_a_test():
    assert {row for row, _ in CELLS} == set(ROWS)
    assert len(CELLS) == len(ROWS) * len(COLUMNS)


@pytest.mark.parametrize("row", ROWS)
def test_onnx_of_any_size_and_in_int8(row, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    make, graph = graphs._graph_of, []

    def once(*arguments):  # in 8 bits the same graph is quantised
        graph.extend([] if graph else [make(*arguments)])
        return deepcopy(graph[0])

    monkeypatch.setattr(graphs, "_graph_of", once)
    dynamic = CELLS[row, "any height and width"]
    if not dynamic:
        with pytest.raises(UsageError, match="leave --dynamic out"):
            write(row, tmp_path, dynamic=True)
        graph.clear()
    assert write(row, tmp_path, dynamic=dynamic) < 1e-3
    for size in OTHER_SIZES if dynamic else [(3, 3, 32, 32)]:
        assert check_onnx(tmp_path / "x.onnx", module_of(row), images(*size)) < 1e-3
    full = (tmp_path / "x.onnx").stat().st_size
    assert CELLS[row, "ONNX"] and CELLS[row, "int8"]
    assert 0 < write(row, tmp_path, dynamic=dynamic, int8=True) < 1
    assert (tmp_path / "x.onnx").stat().st_size != full


@pytest.mark.parametrize("row", ROWS)
def test_onnx_in_float16(row, tmp_path):
    pytest.importorskip("onnxruntime")
    assert CELLS[row, "float16"]
    assert 0 < write(row, tmp_path, half=True) < 0.1


@pytest.mark.parametrize("row", [row for row in ROWS if row != "ObjectDetector"])  # whose graph is that of ONNX
def test_torch_export_of_any_size(row):
    module, step = module_of(row), 8
    rows, columns = (torch.export.Dim(name, min=2, max=4096) for name in ("rows", "columns"))
    sides = {"images": {0: torch.export.Dim("batch", max=4096), 2: step * rows, 3: step * columns}}

    def export():
        return torch.export.export(module, (images(2, 3, 40, 48),), dynamic_shapes=sides).module()

    if not CELLS[row, "torch.export"]:
        with pytest.raises(Exception):  # noqa: B017 (torch's errors and ours)
            export()
        return
    exported = export()
    for size in OTHER_SIZES:
        torch.testing.assert_close(exported(images(*size)), module(images(*size)), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("row", [row for row in ROWS if CELLS[row, "torch.jit.trace"]])
def test_traces(row):
    module = module_of(row)
    traced = torch.jit.trace(module, images(2, 3, 32, 32), check_trace=False)
    torch.testing.assert_close(traced(images(5, 3, 32, 32)), module(images(5, 3, 32, 32)), atol=1e-4, rtol=1e-4)


def flops(function, *inputs):
    with FlopCounterMode(display=False) as counter:
        outputs = function(*inputs)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        sum(output.float().sum() for output in outputs).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("row", ROWS)
def test_flops_of_kernels_are_counted(row, monkeypatch):
    assert CELLS[row, "FLOP counter"]
    model = deepcopy(built(row)).requires_grad_(True)
    call = (lambda x: model(x, mode="tensor")) if row in MODELS else model.encoder
    counted = flops(call, images(2, 3, 32, 32))
    monkeypatch.setattr(cpu, "takes", lambda *_: False)
    assert counted == flops(call, images(2, 3, 32, 32)) > 0


def test_flops_are_those_that_are_counted_of_timms():
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    twin = timm.models.VisionTransformer(**options, num_classes=0, global_pool="")
    assert flops(VisionTransformer(**options), images(2, 3, 32, 32)) == flops(twin, images(2, 3, 32, 32)) > 0


def test_detections_are_those_of_the_model():
    torch.manual_seed(3)
    model = deepcopy(built("ObjectDetector"))
    module = Detections(model)
    for size in (*OTHER_SIZES, (2, 3, 40, 72)):
        boxes, labels, scores, image, masks = module(images(*size))
        for number, expected in enumerate(model(images(*size), mode="predict")):
            mine = image == number
            assert torch.equal(labels[mine], expected["labels"]) and len(expected["labels"]) > 3
            torch.testing.assert_close(boxes[mine], expected["boxes"])
            torch.testing.assert_close(scores[mine], expected["scores"])
            pasted = paste_masks_in_image(masks[mine][:, None], boxes[mine], size[2:])[:, 0] >= 0.5
            assert torch.equal(pasted, expected["masks"])
