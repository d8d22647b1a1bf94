import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """60 images of 8 x 8 pixels of two classes, and 20 of them held back."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 60), ("val", 20)):
        for index in range(number):
            image = rng.integers(0, 120, (8, 8), dtype=np.uint8)
            image[: 4 if index % 2 else 8, : 8 if index % 2 else 4] += 100
            path = tmp_path / "data" / part / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return tmp_path / "data"
