"""Which folder holds the masks of which images."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maetool.data.codecs.endings import IMAGE_EXTENSIONS, ending_of
from maetool.data.sources.part_names import part_of
from maetool.errors import UsageError

from .remarks import folders_in

_MASKS = {"annotation", "annotations", "mask", "masks", "label", "labels", "gt", "groundtruth", "truth", "seg", "segs"}
_MASKS |= {"segmentation", "segmentations", "matte", "mattes", "target", "targets"}
_IMAGES = {"image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "rgb", "jpegimages", "input"}
_OTHERS = {"no", "without", "object", "objects", "instance", "instances", "color", "colour", "colored", "coloured"}
_LOOKED_AT = 2000  # files of a folder whose names are compared
_TRIED = 20  # names from which suffixes are guessed
_PAIRED = 0.5  # least share of the images, or of the masks, that have the other
_NO_CLASSES = re.compile("colou?r|instance|polygon|vis")  # in names of what lies beside the masks, as in Cityscapes


@dataclass(frozen=True)
class MaskFolders:
    """Where images and their masks lie.

    Attributes:
        folders: part to the folders of images and masks, as seen from the root.
        image_suffix, annotation_suffix: what follows the name that an image and its mask share.
    """

    folders: dict[str, tuple[str, str]]
    image_suffix: str
    annotation_suffix: str

    def arguments(self, part: str) -> dict[str, str]:
        """Return the arguments of a `SegmentationDataset` that say where a part is."""
        images, masks = self.folders[part]
        suffixes = {"image_suffix": self.image_suffix, "annotation_suffix": self.annotation_suffix}
        return {"images": images, "annotations": masks, **suffixes}

    def places(self, root: Path) -> dict[str, dict[str, Any]]:
        """Return the config of a dataset for each part below `root`."""
        parts = {part: {"type": "SegmentationDataset", "root": str(root)} for part in self.folders}
        return {part: {**place, **self.arguments(part)} for part, place in parts.items()}


def find_masks(root: Path) -> MaskFolders | None:
    """Return where images and masks lie below `root`; None where nothing looks like it.

    A folder holds masks if its name says so and most of its files have the name of an image in a folder beside it.

    Raises:
        UsageError: folders of two layouts, of which nobody can say which counts.
    """
    folders: dict[str, tuple[str, str]] = {}
    suffixes: Counter[tuple[str, str]] = Counter()
    for part, images, masks in _candidates(root):
        names = [list(_names_in(root / folder)) for folder in (images, masks)]
        found = _suffixes(*names)
        if found is None:
            continue
        if part in folders and folders[part][1] == masks:
            continue  # of other images of the same names, such as those of depth
        if part in folders:
            raise UsageError(
                f"{root} has masks of the part {part} in {folders[part][1]} and in {masks}: pass --data with the "
                "folder that holds one of them."
            )
        folders[part] = images, masks
        suffixes[found] += 1
    if not folders:
        return None
    (image_suffix, mask_suffix), _ = suffixes.most_common(1)[0]
    return MaskFolders(dict(sorted(folders.items(), key=_order)), image_suffix, mask_suffix)


def _order(item: tuple[str, Any]) -> int:
    return ("train", "all", "val", "test").index(item[0])


def _candidates(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield part, folder of images and folder of masks, as seen from the root."""
    for folder in [root, *folders_in(root)]:
        inside = folders_in(folder)
        for masks in [path for path in inside if _means_masks(path.name)]:
            for images in sorted(inside, key=lambda path: (not _IMAGES.intersection(_words_of(path.name)), path)):
                if _MASKS.intersection(_words_of(images.name)) and not _IMAGES.intersection(_words_of(images.name)):
                    continue
                yield from _parts_of(root, images, masks)


def _parts_of(root: Path, images: Path, masks: Path) -> Iterator[tuple[str, str, str]]:
    by_part = [{_part_in(path.name): path for path in folders_in(folder)} for folder in (images, masks)]
    shared = [part for part in ("train", "val", "test") if all(part in each for each in by_part)]
    own, other = (_part_in(folder.name) for folder in (images, masks))
    if not shared and own == other:
        part = own or (part_of(images.parent.name) if images.parent != root else None)
        yield part or "all", images.relative_to(root).as_posix(), masks.relative_to(root).as_posix()
    for part in shared:
        places = [each[part].relative_to(root).as_posix() for each in by_part]
        yield part, places[0], places[1]


def _part_in(name: str) -> str | None:
    """Return the part that a folder's name names, beside words for masks: `train_masks` is one of training."""
    return part_of(name) or part_of("_".join(word for word in _words_of(name) if word not in _MASKS))


def _words_of(name: str) -> list[str]:
    """Return the words of a name in lower case, also those that begin with a capital: `labelsTr` has two."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    return [word for word in re.split(r"[\W\d_]+", spaced) if word]


def _means_masks(name: str) -> bool:
    words = _words_of(name)
    return bool(_MASKS.intersection(words)) and not _OTHERS.intersection(words)


def _names_in(folder: Path) -> Iterator[str]:
    """Yield the images below a folder, as seen from it."""
    count = 0
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(IMAGE_EXTENSIONS):
                yield Path(place, name).relative_to(folder).as_posix()
                count += 1
            if count == _LOOKED_AT:
                return


def _suffixes(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str] | None:
    """Return the suffixes of images and of masks with which most of their names are the same."""
    if not images or not masks:
        return None
    usual = tuple(Counter(map(ending_of, names)).most_common(1)[0][0] for names in (images, masks))
    tried = dict.fromkeys([(usual[0], usual[1]), *_guesses(images, masks)])
    pairs = {each: len(_stems(images, each[0]) & _stems(masks, each[1])) for each in tried}
    best = max(pairs, key=lambda each: (pairs[each], not _NO_CLASSES.search(each[1])))  # of equal ones the first
    return best if pairs[best] and pairs[best] >= _PAIRED * min(len(images), len(masks)) else None


def _guesses(images: Sequence[str], masks: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what follows the longest name that some image shares with a mask, as `_leftImg8bit.png`."""
    for mask in masks[:_TRIED]:
        starts = [_shared(name, mask) for name in images]
        image = images[max(range(len(images)), key=lambda i: len(starts[i]))]
        shared = len(_shared(image, mask).rstrip("_-."))
        if shared:
            yield image[shared:].lower(), mask[shared:].lower()


def _shared(one: str, other: str) -> str:
    """Return the characters that two names begin with."""
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def _stems(names: Sequence[str], suffix: str) -> set[str]:
    return {name[: -len(suffix) or None] for name in names if name.lower().endswith(suffix)}
