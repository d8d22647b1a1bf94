"""Archives of images: zip and tar, also as shards of WebDataset."""

import io
import tarfile
import zipfile

import numpy as np
import torch
from damage import bytes_damaged
from PIL import Image

from maetool.data import SourceDataset
from maetool.data.sources import ArchiveSource, WebDatasetSource

NUMBER = 5


def _picture(number):
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), number * 40, np.uint8)).save(file, "PNG")
    return file.getvalue()


def make_case(rng, folder):
    ending = rng.choice((".zip", ".tar"))
    path = folder / f"images{ending}"
    members = {f"{number}.png": _picture(number) for number in range(NUMBER)}
    members |= {f"{number}.cls": str(number % 2).encode() for number in range(NUMBER)}
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    whole = rng.randrange(10) == 0
    if not whole:
        path.write_bytes(bytes_damaged(rng, path.read_bytes()))
    return path, rng.choice((ArchiveSource, WebDatasetSource)), whole


def try_case(case):
    path, kind, whole = case
    source = kind(path)
    dataset = SourceDataset(source, max_broken=1.0, with_labels=kind is WebDatasetSource)
    broken = 0
    for index in range(len(dataset)):
        sample = dataset.load(index)
        broken += bool(sample["skipped"])
        assert isinstance(sample["inputs"], torch.Tensor)
    assert not whole or (len(dataset) == NUMBER and not broken)
    return "counted" if broken or len(dataset) < NUMBER else "right"
