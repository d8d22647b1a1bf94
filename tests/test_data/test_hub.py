"""Data sets of Hugging Face by name: from a server that answers as the Hub does, and later from the disk alone."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from servers import Hub, serving

datasets = pytest.importorskip("datasets")
# The address of the Hub is read when its client is imported, so that another process asks it.
CLIENT = """
import hashlib, json
from maetool.data.sources import HuggingFaceSource
from maetool.errors import UsageError
found = {}
for split in ("train", "validation", "nothing"):
    try:
        source = HuggingFaceSource("me/set", split)
        classes, values = source.labels()
        images = [hashlib.sha256(source.read(i)[1]).hexdigest() for i in range(len(source))]
        found[split] = [classes, values.tolist(), images]
    except UsageError as error:
        found[split] = str(error)
try:
    HuggingFaceSource("me/none")
except UsageError as error:
    found["none"] = str(error)
print(json.dumps(found))
"""


def picture(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def parquet(first):
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])})
    rows = {"image": [{"bytes": picture(first + i), "path": None} for i in range(4)], "label": [0, 1, 1, 0]}
    file = io.BytesIO()
    datasets.Dataset.from_dict(rows, kinds).to_parquet(file)
    return file.getvalue()


def asked(address, home, **more):
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "PYTHONPATH": os.getcwd(), **more}
    done = subprocess.run([sys.executable, "-c", CLIENT], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_by_name_and_then_offline(tmp_path):
    content = {f"data/{split}-00000-of-00001.parquet": parquet(n) for split, n in (("train", 0), ("validation", 10))}
    with serving(content) as server:
        server.RequestHandlerClass = Hub
        found = asked(server.address, tmp_path)
        server.asked.clear()
        again = asked(server.address, tmp_path, HF_HUB_OFFLINE="1")
        assert not server.asked
    assert found["train"][:2] == found["validation"][:2] == [["ant", "bee"], [0, 1, 1, 0]]
    assert len(set(found["train"][2] + found["validation"][2])) == 8
    assert "me/set cannot be loaded by datasets, split nothing (" in found["nothing"]
    assert "me/none cannot be loaded by datasets" in found["none"] and "\n" not in found["none"]
    assert (again["train"], again["validation"]) == (found["train"], found["validation"])
