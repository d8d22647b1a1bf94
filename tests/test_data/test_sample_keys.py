"""docs/samples.md lists the keys of samples and batches as the code has them."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maetool import data, registry
from maetool.data import collate_samples
from maetool.data.datasets.detection import collate_objects
from maetool.data.transforms.augment import AugmentingPreprocessor
from maetool.data.transforms.preprocessor import ImagePreprocessor

ROOT = Path(__file__).parents[2]
SIZE = (16, 24)
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \|$", re.MULTILINE)


def table(title):
    """Return the rows of a table of the page: key to its other columns."""
    section = (ROOT / "docs" / "samples.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return {match[1]: match[2].split(" | ") for match in ROW.finditer(section)}


SAMPLE, BATCH, PIPELINE = table("Keys of samples and batches"), table("Keys of batches only"), table("In a pipeline")


@pytest.fixture
def folder(tmp_path):
    """Photographs in two classes with a csv table, and PNGs of classes under the same names."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        for place, values in ((f"images/c{number % 2}", image), (f"truth/c{number % 2}", image[..., 0] % 2)):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(tmp_path / place / f"{number}.png")
    names = [f"images/c{number % 2}/{number}.png" for number in range(4)]
    (tmp_path / "one.csv").write_text("path,label\n" + "".join(f"{name},c{i % 2}\n" for i, name in enumerate(names)))
    (tmp_path / "several.csv").write_text("path,a,b\n" + "".join(f"{name},{i % 2},1\n" for i, name in enumerate(names)))
    return tmp_path


@pytest.fixture
def datasets(folder):
    """Datasets that together write every key of the page but `mask`, which is for datasets of a reader."""
    images = folder / "images"
    pixels = {"images": "images", "annotations": "truth", "image_suffix": ".png", "classes": ["a", "b"]}
    return [
        data.ImageFolderDataset(images, with_labels=True, nodata=0),
        data.CsvDataset(folder / "one.csv"),
        data.CsvDataset(folder / "several.csv"),
        data.ShapesDataset(4, 32),
        data.SegmentationDataset(folder, **pixels),
        data.ShapesSegmentation(4, 32),
        data.ObjectShapesDataset(4, 32),
        data.MovingShapesDataset(4, 32, frames=3),
        data.BandsDataset(4, 32, pipeline=[data.SplitChannels({"visible": [0, 1, 2]})]),
        data.ShapesDataset(4, 32, pipeline=[data.ColourCodes()]),
        data.ShapesDataset(4, 32, pipeline=[data.GlobalToLocalViews(16)]),
    ]


def kinds_of(text):
    """Return the types, and the shapes where there are any, that a cell of the table allows."""
    types = {name for name in ("uint8", "float32", "int64", "bool", "int", "str") if re.search(rf"\b{name}\b", text)}
    shapes = re.findall(r"\(([A-Z\w, .]*?)\)", text)
    return types, [tuple(filter(None, re.split(r",\s*", shape))) for shape in shapes]


def check(key, value, text):
    """Check type and number of axes of a value against a cell; letters stand for any size, numbers for themselves."""
    types, shapes = kinds_of(text)
    if isinstance(value, dict):
        assert "dict" in text, f"{key} is a dict, but the page says {text}"
        for one in value.values():
            check(key, one, text)
        return
    if not isinstance(value, torch.Tensor):
        assert type(value).__name__ in types, f"{key} is {type(value).__name__}, but the page says {text}"
        return
    assert str(value.dtype).removeprefix("torch.") in types, f"{key} is {value.dtype}, but the page says {text}"
    fits = [shape for shape in shapes if len(shape) == value.ndim and _sizes_fit(shape, value.shape)]
    assert fits, f"{key} has the shape {tuple(value.shape)}, but the page says {text}"


def _sizes_fit(shape, sizes):
    return all(int(name) == size for name, size in zip(shape, sizes, strict=True) if name.isdigit())


def test_samples_have_the_keys_of_the_page(datasets):
    seen = set()
    for dataset in datasets:
        for key, value in dataset[1].items():
            assert key in SAMPLE, f"{type(dataset).__name__} gives `{key}`, which docs/samples.md does not list"
            seen.add(key)
            if key != "objects":
                check(key, value, SAMPLE[key][0])
    assert seen == SAMPLE.keys() - {"mask"}


def test_batches_have_the_keys_of_the_page(datasets):
    for dataset in datasets:
        samples = [dataset[i] for i in range(4)]
        batch = collate_objects(samples) if "objects" in samples[0] else collate_samples(samples)
        for key in set(batch) & set(SAMPLE) - {"skipped"}:
            check(key, batch[key], SAMPLE[key][1])
        assert set(batch) - set(SAMPLE) <= {"targets"}
        assert isinstance(batch.get("skipped", []), list)
        has_means = getattr(batch["inputs"], "dtype", None) != torch.int64
        given = (ImagePreprocessor() if has_means else ImagePreprocessor(None, None))(batch)
        assert given.keys() == {"images", "data_samples"} < BATCH.keys()
        check("images", given["images"], BATCH["images"][0])
        assert given["data_samples"].keys() == batch.keys() - {"inputs"}


def test_mixed_labels_have_the_form_of_the_page(folder):
    dataset = data.CsvDataset(folder / "one.csv")
    batch = collate_samples([dataset[i] for i in range(4)])
    given = AugmentingPreprocessor(num_classes=2)(batch, training=True)["data_samples"]
    assert given.keys() - batch.keys() == {"target"}
    check("target", given["target"], BATCH["target"][0])


def test_pipelines_hand_over_the_keys_of_the_page(folder):
    seen = []

    class Seen(data.SampleTransform):
        def move(self, sample):
            seen.append(sample)
            return sample

    pixels = {"images": "images", "annotations": "truth", "image_suffix": ".png", "classes": ["a", "b"]}
    for dataset in (
        data.ImageFolderDataset(folder / "images", nodata=0, pipeline=[Seen()]),
        data.SegmentationDataset(folder, **pixels, pipeline=[Seen()]),
        data.ObjectShapesDataset(4, 32, pipeline=[Seen()]),
    ):
        dataset[0]
    assert {key for sample in seen for key in sample} == PIPELINE.keys()
    for key, value in (item for sample in seen for item in sample.items()):
        kind = type(value).__name__
        assert PIPELINE[key][0].startswith(f"`{kind}`")
        if isinstance(value, torch.Tensor):
            check(key, value, PIPELINE[key][0])


def test_who_writes_and_who_reads_exists():
    text = " ".join(cell for row in (*SAMPLE.values(), *BATCH.values()) for cell in row)
    registries = [parts for parts in vars(registry).values() if isinstance(parts, registry.Registry)]
    for parts in registries:
        parts.import_from_location()
    known = {name for parts in registries for name in parts.module_dict} | set(data.__all__)
    known |= {"ObjectDataset", "ImageDataset"}
    named = set(re.findall(r"`([A-Z]\w+)`", text))
    assert named - known == set()
    assert len(named) > 12


def test_models_read_no_other_key():
    """Every literal key that models, preprocessors and validation ask of a sample or a batch is on the page."""
    owners, asked = {"samples", "data_samples", "batch", "data", "sample"}, set()
    for room in ("models", "data/transforms", "data/datasets", "evaluation", "engine/hooks"):
        for path in (ROOT / "maetool" / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                asked |= {key for owner, key in _asked(node) if owner in owners}
    assert asked - SAMPLE.keys() - BATCH.keys() - PIPELINE.keys() == set()
    assert {"inputs", "label", "semantic", "targets", "target", "key", "index", "skipped"} <= asked


def _asked(node):
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        owner, key = node.value, node.slice.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        owner, key = node.func.value, getattr(node.args[0], "value", None)
    else:
        return
    if isinstance(owner, ast.Name) and isinstance(key, str):
        yield owner.id, key
