"""Photographs to measure with, made from those that scikit-image and scikit-learn ship."""

from pathlib import Path

import cv2
import numpy as np

from maetool.errors import UsageError

_SKIMAGE = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field", "retina", "immunohistochemistry")
_GRAIN = 3.0  # grey levels; enlarged photographs have none, and files without it are too small


def write_photos(folder: Path, count: int, size: tuple[int, int], quality: int = 90) -> None:
    """Write JPEG files (4:2:0), random crops of the photographs at `size` (height, width), always the same ones.

    Raises:
        UsageError: neither scikit-image nor scikit-learn is installed.
    """
    sources, rng = _sources(), np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    height, width = size
    for i in range(count):
        source = sources[i % len(sources)]
        share = rng.uniform(0.6, 1.0) * min(source.shape[0] / height, source.shape[1] / width)
        rows, columns = int(share * height), int(share * width)
        top, left = rng.integers(source.shape[0] - rows + 1), rng.integers(source.shape[1] - columns + 1)
        part = source[top : top + rows, left : left + columns]
        way = cv2.INTER_AREA if rows > height else cv2.INTER_CUBIC
        pixels = cv2.resize(part, (width, height), interpolation=way)
        pixels = np.clip(pixels + rng.normal(0, _GRAIN, pixels.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i:05d}.jpg"), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])


def _sources() -> list[np.ndarray]:
    """Return photographs as uint8 (H, W, 3), RGB."""
    sources = []
    try:
        from skimage import data

        sources += [getattr(data, name)()[..., :3] for name in _SKIMAGE]
    except (ImportError, OSError):  # some it would download
        pass
    try:
        from sklearn.datasets import load_sample_images

        sources += list(load_sample_images().images)
    except ImportError:
        pass
    if not sources:
        raise UsageError("There are no photographs to measure with: pip install scikit-image, or pass --data FOLDER.")
    return sources
