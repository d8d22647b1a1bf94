"""Folders of shards: the table of places, and the tar files."""

import io
from contextlib import suppress

import numpy as np
import torch
from damage import bytes_damaged
from PIL import Image

from maetool.data import ShardDataset
from maetool.data.sources.packed.shards import TABLE, ShardTable, ShardWriter, members_of
from maetool.errors import UsageError

NUMBER = 6


def _picture(number):
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), number * 40, np.uint8)).save(file, "PNG")
    return file.getvalue()


def make_case(rng, folder):
    shards = ["shard-000000.tar", "shard-000001.tar"]
    for place, shard in enumerate(shards):
        writer = ShardWriter(folder / shard)
        for number in range(place * NUMBER // 2, (place + 1) * NUMBER // 2):
            writer.add(f"{number}.png", _picture(number))
        writer.close()
    ShardTable.of(folder, shards).save()
    how = rng.randrange(10)
    if 1 <= how < 4:
        _damage_table(rng, folder / TABLE)
    elif how < 6 and how:
        (folder / TABLE).write_bytes(bytes_damaged(rng, (folder / TABLE).read_bytes()))
    elif how:
        path = folder / rng.choice(shards)
        data = path.read_bytes()
        damaged = bytes_damaged(rng, data)
        path.write_bytes((damaged + bytes(len(data)))[: len(data)])  # else its size tells
    return folder, how == 0


def _damage_table(rng, path):
    arrays = dict(np.load(path))
    name = rng.choice(list(arrays))
    array = arrays[name]
    kinds = [array[..., None], array.astype(str), np.zeros(0, array.dtype), array[:-1] if array.ndim else array]
    if array.dtype.kind in "iu":
        kinds += [
            array.astype(np.float64),
            array - 1,
            array + array.dtype.type(99),
            np.full_like(array, np.iinfo(array.dtype).max),
        ]
    if name == "shards":
        kinds.append(np.array(["../x.tar", "/dev/zero"]))
    arrays[name] = rng.choice(kinds)
    if rng.random() < 0.1:
        del arrays[name]
    np.savez(path, **arrays)


def try_case(case):
    folder, whole = case
    if not whole:
        for shard in folder.glob("*.tar"):
            with suppress(UsageError):
                members_of(shard)
    dataset = ShardDataset(folder, max_broken=0.5)
    broken = 0
    for index in range(len(dataset)):
        sample = dataset.load(index)
        broken += bool(sample["skipped"])
        if not sample["skipped"] and sample["inputs"].shape == (3, 20, 30):
            number = int(dataset.name_of(index).removesuffix(".png"))
            assert torch.equal(sample["inputs"], torch.full((3, 20, 30), number * 40, dtype=torch.uint8))
    assert len(dataset) == NUMBER and not (whole and broken)
    return "counted" if broken else "right"
