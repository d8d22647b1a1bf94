"""Every registered evaluator keeps the contract of evaluators, and the contract can be broken."""

import pytest
import torch

from maetool.data import MeasuredShapes, ObjectShapesDataset, ShapesDataset, ShapesSegmentation
from maetool.data.datasets.detection import collate_objects
from maetool.data.transforms import FitObjects
from maetool.evaluation import BaseEvaluator
from maetool.evaluation.names import MetricName
from maetool.registry import METRICS, MODELS
from maetool.testing import check_evaluator, tiny_model

ENCODER = {"type": "VisionTransformer", "img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
BASE = {"encoder": ENCODER, "data_preprocessor": {"type": "ImagePreprocessor"}}
PIXELS = {"type": "Segmentor", "num_classes": 8, "decode_head": {"type": "LinearMapHead"}, **BASE}
SMALL = {"channels": 16, "hidden_dim": 32, "num_proposals": 8}
OBJECTS = {"type": "ObjectDetector", "num_classes": 7, "with_masks": False, **SMALL, **BASE}
METRICS.import_from_location()
EVALUATORS = sorted(name for name, part in METRICS.module_dict.items() if issubclass(part, BaseEvaluator))


def mim():
    return tiny_model(encoder={"img_size": 32, "patch_size": 8})


CASES = {  # model, samples
    "ClassificationEvaluator": (
        lambda: MODELS.build({"type": "ImageClassifier", "num_classes": 8, **BASE}),
        lambda: ShapesDataset(16, 32),
    ),
    "DetectionEvaluator": (
        lambda: MODELS.build(OBJECTS),
        lambda: ObjectShapesDataset(5, 32, pipeline=[FitObjects(32)]),
    ),
    "FeatureSpreadEvaluator": (mim, lambda: ShapesDataset(16, 32)),
    "KnnEvaluator": (mim, lambda: ShapesDataset(16, 32)),
    "LinearProbeEvaluator": (mim, lambda: ShapesDataset(16, 32)),
    "LossEvaluator": (mim, lambda: ShapesDataset(10, 32)),
    "PatchKnnEvaluator": (mim, lambda: ShapesSegmentation(5, 32)),
    "RegressionEvaluator": (
        lambda: MODELS.build({"type": "ImageRegressor", "num_targets": 1, **BASE}),
        lambda: MeasuredShapes(10, 32),
    ),
    "SubspaceProbeEvaluator": (mim, lambda: ShapesDataset(16, 32)),
    "SegmentationEvaluator": (lambda: MODELS.build(PIXELS), lambda: ShapesSegmentation(5, 32)),
}


@pytest.mark.parametrize("name", EVALUATORS)
def test_evaluator(name, tmp_path):
    model, dataset = CASES[name]
    torch.manual_seed(0)
    collate = collate_objects if name == "DetectionEvaluator" else None
    bank = (ShapesSegmentation if name == "PatchKnnEvaluator" else ShapesDataset)(24, 32, seed=1)
    check_evaluator(METRICS.build({"type": name}), model(), dataset(), bank, tmp_path, collate)


class Brightness(BaseEvaluator):
    """How bright the images are."""

    metric_names = {"brightness": MetricName("brightness")}
    files = ("brightness.txt",)

    def measure(self, model, data):
        values = torch.cat([batch["inputs"].float().mean(dim=(1, 2, 3)) for batch in data])
        return {"brightness": values.mean().item()}

    def report(self, folder):
        (folder / "brightness.txt").write_text("bright")
        return {}


class OfBatches(Brightness):
    metric_names = {"brightness": MetricName("brightness", better="greater")}

    def measure(self, model, data):
        means = [batch["inputs"].float().mean().item() for batch in data]
        return {"brightness": sum(means) / len(means)}


class Nameless(Brightness):
    metric_names = {}


class Infinite(Brightness):
    def measure(self, model, data):
        return {"brightness": float("nan")}


class Teaching(Brightness):
    def measure(self, model, data):
        model.encoder.cls_token += 1
        return super().measure(model, data)


class Waking(Brightness):
    def measure(self, model, data):
        model.train()
        return super().measure(model, data)


class Littering(Brightness):
    files = ()


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (OfBatches, "size of the batches .brightness do"),
        (Nameless, "but not brightness"),
        (Infinite, "finite numbers"),
        (Teaching, "the model stays as it is"),
        (Waking, "evaluation mode"),
        (Littering, "but not brightness.txt"),
    ],
)
def test_the_contract_can_be_broken(kind, promise, tmp_path):
    dataset = ShapesDataset(8, 32)
    (tmp_path / "kept").mkdir()
    check_evaluator(Brightness(), mim(), dataset, folder=tmp_path / "kept")
    (tmp_path / "broken").mkdir()
    with pytest.raises(AssertionError, match=promise):
        check_evaluator(kind(), mim(), dataset, folder=tmp_path / "broken")
