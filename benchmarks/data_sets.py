r"""Small labelled sets of images from packages, written as folders `train/CLASS` and `val/CLASS`.

Nothing is fetched. Unpack the Debian packages below into one folder, and name it:

    apt-get download PACKAGE ... && for file in *.deb; do dpkg-deb -x $file ROOT; done
    pip download --no-deps stardist && unzip stardist*.whl -d ROOT    # of which only data/images is read
    python -m benchmarks.data_sets ROOT OUT

| set | from | classes | held out |
|---|---|---|---|
| stamps | tuxpaint-stamps-default | kinds of photographs and drawings | every fourth picture |
| clipart | openclipart-png | kinds of drawings | every fourth picture |
| icons | oxygen-icon-theme | purposes of icons | every fourth picture |
| fashion | dataset-fashion-mnist | kinds of clothes | the test set |
| glyphs | fonts-* (Debian) | letters A to Z | every fourth font |
| textures | gimp-data-extras | patterns | the right halves of the patterns |
| brain | mricron-data | lobe in the middle of a tile of an MR image | every second slab of slices |
| nuclei | stardist (PyPI) | nuclei in a tile of a fluorescence image: none, few, many | the lower half |
| bands | r-cran-mlbench | land cover of 3 x 3 pixels of 4 bands of Landsat | the test set |
| digits | scikit-learn | digits of 8 x 8 pixels | the last quarter |
| faces | scikit-image | face or none | every fourth picture |
| shapes | maetool | drawn shapes | other drawings |

The fonts are fonts-cantarell, -comfortaa, -crosextra-caladea, -crosextra-carlito, -dejavu-core, -dejavu-extra,
-ebgaramond, -firacode, -freefont-ttf, -hack, -inconsolata, -lato, -liberation, -linuxlibertine, -open-sans, -quicksand
and -roboto-unhinted. `bands`, `brain` and `nuclei` are read by the packages rdata, nibabel and tifffile.
"""

import gzip
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Sample = tuple[str, str, np.ndarray]  # part, class, (H, W), (H, W, 3) of uint8, or (C, H, W) of other bands
_MOST = {"train": 2400, "val": 800}  # images of a set that are used
_MOST_OF_A_CLASS = 400  # of drawings and icons
_LARGE = 200_000  # bytes of a drawing, from which it is passed over
_TILE = 32


def _pictures(folder: Path, depth: int, least: int, side: int = 48) -> Iterator[Sample]:
    """Yield the PNGs below the folders of classes that hold at least `least`, on white, at most `side` pixels."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.png")):
        if not path.is_symlink() and path.stat().st_size < _LARGE:
            found.setdefault(path.relative_to(folder).parts[depth], []).append(path)
    for name, paths in found.items():
        for number, path in enumerate(paths[:_MOST_OF_A_CLASS] if len(paths) >= least else []):
            picture = Image.open(path).convert("RGBA")
            picture.thumbnail((side, side))
            square = Image.new("RGBA", (side, side), "white")
            square.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            yield ("val" if number % 4 == 3 else "train"), name, np.array(square.convert("RGB"))


def stamps(root: Path) -> Iterator[Sample]:
    """Photographs and drawings for children, by what they show."""
    return _pictures(root / "usr/share/tuxpaint/stamps", 0, 60)


def clipart(root: Path) -> Iterator[Sample]:
    """Drawings, by what they show."""
    return _pictures(root / "usr/share/openclipart/png", 0, 300)


def icons(root: Path) -> Iterator[Sample]:
    """Icons of 64 pixels, by what they are for."""
    return _pictures(root / "usr/share/icons/oxygen/base/64x64", 0, 60)


def fashion(root: Path) -> Iterator[Sample]:
    """Small grey photographs of clothes."""
    folder = root / "usr/share/datasets/fashion-mnist"
    for part, prefix in (("train", "train"), ("val", "t10k")):
        with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz") as file:
            images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)
        yield from ((part, str(label), image) for image, label in zip(images, labels, strict=True))


def glyphs(root: Path) -> Iterator[Sample]:
    """Letters, drawn with the fonts of Debian; every fourth font is held out."""
    fonts = sorted(p for p in (root / "usr/share/fonts").rglob("*.[to]tf"))
    for number, path in enumerate(fonts):
        font = ImageFont.truetype(str(path), 26)
        seen = set()
        drawn = []
        for letter in string.ascii_uppercase:
            picture = Image.new("L", (_TILE, _TILE))
            ImageDraw.Draw(picture).text((_TILE // 2, _TILE // 2), letter, 255, font, anchor="mm")
            drawn.append((letter, np.array(picture)))
            seen.add(drawn[-1][1].tobytes())
        if len(seen) == len(drawn):  # a font without letters draws the same box for each
            yield from (("val" if number % 4 == 3 else "train", letter, image) for letter, image in drawn)


def textures(root: Path) -> Iterator[Sample]:
    """Tiles of the patterns of GIMP that are at least 100 pixels wide and high: the left halves, and the right ones."""
    for path in sorted((root / "usr/share/gimp/2.0/patterns").glob("*.pat")):
        content = path.read_bytes()
        start, _, width, height, channels = np.frombuffer(content[:20], ">u4").tolist()
        if min(width, height) < 100 or channels != 3:
            continue
        image = np.frombuffer(content, np.uint8, width * height * 3, start).reshape(height, width, 3)
        for part, begin, end in (("train", 0, width // 2), ("val", width // 2, width)):
            for tile in _tiles(image[:, begin:end], 12):
                yield part, path.stem, tile


def brain(root: Path) -> Iterator[Sample]:
    """Tiles of an MR image of a head, by the lobe in the middle; slabs of ten slices are held out in turn."""
    import nibabel

    folder = root / "usr/share/mricron/templates"
    image, atlas = (np.asarray(nibabel.load(folder / f"{name}.nii.gz").dataobj) for name in ("ch2", "aal"))
    names = dict(line.split()[:2] for line in (folder / "aal.nii.txt").read_text().splitlines() if line.strip())
    half = _TILE // 2
    for z in range(20, 130, 2):
        for x in range(half, image.shape[0] - half, 6):
            for y in range(half, image.shape[1] - half, 6):
                lobe = names.get(str(int(atlas[x, y, z])), "").split("_")[0]
                if lobe in ("Frontal", "Temporal", "Occipital", "Parietal", "Cerebelum", "Cingulum"):
                    tile = image[x - half : x + half, y - half : y + half, z]
                    yield ("val" if z // 10 % 2 else "train"), lobe, tile.astype(np.uint8)


def nuclei(root: Path) -> Iterator[Sample]:
    """Tiles of a fluorescence image, by the number of nuclei in them; the lower half is held out."""
    import tifffile

    folder = root / "stardist/data/images"
    image, mask = (tifffile.imread(folder / f"{name}2d.tif") for name in ("img", "mask"))
    low, high = np.percentile(image, (0.1, 99.9))
    image = (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    middle = len(image) // 2
    for part, rows in (("train", slice(0, middle)), ("val", slice(middle, None))):
        for tile, truth in zip(_tiles(image[rows], 6), _tiles(mask[rows], 6), strict=True):
            nuclei_there = sum(np.count_nonzero(truth == each) > 20 for each in np.unique(truth) if each)
            yield part, "none" if not nuclei_there else "few" if nuclei_there < 4 else "many", tile


def _tiles(image: np.ndarray, step: int) -> Iterator[np.ndarray]:
    for top in range(0, image.shape[0] - _TILE + 1, step):
        for left in range(0, image.shape[1] - _TILE + 1, step):
            yield image[top : top + _TILE, left : left + _TILE]


def bands(root: Path) -> Iterator[Sample]:
    """Neighbourhoods of 3 x 3 pixels of 4 bands (the Statlog set); the last 2,000 are its test set.

    Each pixel is written as 2 x 2, (4, 6, 6): of (4, 3, 3) nobody can tell the axis of the bands.
    """
    import rdata

    table = rdata.read_rda(root / "usr/lib/R/site-library/mlbench/data/Satellite.rda")["Satellite"]
    values = table.iloc[:, :36].to_numpy(np.float32).reshape(-1, 3, 3, 4).transpose(0, 3, 1, 2)
    values = values.repeat(2, axis=2).repeat(2, axis=3)
    for number, (image, label) in enumerate(zip(values, table["classes"].astype(str), strict=True)):
        yield ("train" if number < 4435 else "val"), label.replace(" ", "_"), image


def digits(_: Path) -> Iterator[Sample]:
    """Digits of 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        yield ("train" if number < 1347 else "val"), str(label), (image * 15).astype(np.uint8)


def faces(_: Path) -> Iterator[Sample]:
    """100 faces of 25 x 25 pixels, and 100 pieces of other pictures."""
    from skimage.data import lfw_subset

    for number, image in enumerate(lfw_subset()):
        yield (
            ("val" if number % 4 == 3 else "train"),
            "face" if number < 100 else "none",
            (image * 255).astype(np.uint8),
        )


def shapes(_: Path) -> Iterator[Sample]:
    """Drawn shapes."""
    from maetool.data.drawn import ShapesDataset

    for part, seed in (("train", 0), ("val", 1)):
        drawn = ShapesDataset(_MOST[part], _TILE, seed=seed)
        for index in range(len(drawn)):
            sample = drawn[index]
            yield part, drawn.classes[int(sample["label"])], sample["inputs"].permute(1, 2, 0).numpy()


SETS: dict[str, Callable[[Path], Iterator[Sample]]] = {
    each.__name__: each
    for each in (stamps, clipart, icons, fashion, glyphs, textures, brain, nuclei, bands, digits, faces, shapes)
}


def write(name: str, samples: list[Sample], out: Path) -> str:
    """Write a set, evenly thinned to 2,400 images to learn from and 800 to predict, and return its size in words."""
    counts = {}
    for part, most in _MOST.items():
        own = [sample for sample in samples if sample[0] == part]
        chosen = [own[int(i)] for i in np.linspace(0, len(own) - 1, min(most, len(own))).round()]
        counts[part] = len(chosen)
        for number, (_, label, image) in enumerate(chosen):
            path = out / name / part / label / f"{number:05}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if image.dtype == np.uint8:
                Image.fromarray(image).save(path.with_suffix(".png"))
            else:
                np.save(path.with_suffix(".npy"), image)
    classes = len(list((out / name / "train").iterdir()))
    return f"{name}: {counts['train']:,} and {counts['val']:,} images of {classes} classes, {image.shape}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for chosen_set, samples_of in SETS.items():
        sys.stdout.write(write(chosen_set, list(samples_of(Path(sys.argv[1]))), Path(sys.argv[2])) + "\n")
