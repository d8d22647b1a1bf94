"""Folders with entries that are no images: named pipes, sockets, devices, links in a circle, and the like."""

import os
import socket

import numpy as np
import torch
from PIL import Image

from maetool.data import CsvDataset, ImageFolderDataset
from maetool.data.sources.file_index import index_files
from maetool.inspection.statistics import measure

ODD = ("pipe", "socket", "device", "circle", "dangling", "folder", "sparse", "empty", "long", "to itself")


def _make(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        place = os.getcwd()
        os.chdir(path.parent)  # its name may have 107 bytes
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
        os.chdir(place)
    elif kind in ("device", "dangling", "circle"):
        path.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "circle": path.name}[kind])
    elif kind == "to itself":
        path.symlink_to(path.parent, target_is_directory=True)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(2**42)
    elif kind == "empty":
        path.touch()
    else:
        path.with_name("n" * 250 + ".png").write_bytes(b"x" * 100)


def make_case(rng, folder):
    (folder / "data").mkdir()
    for number in range(6):
        Image.fromarray(np.full((20, 30, 3), number, np.uint8)).save(folder / "data" / f"{number}.png")
    odd = rng.sample(ODD, rng.randrange(4))
    for kind in odd:
        _make(kind, folder / "data" / f"{rng.choice('0a')}{kind}{rng.choice(('.png', '.jpg', '.npy', ''))}")
    names = [
        *(f"data/{number}.png" for number in range(6)),
        *(str(path.relative_to(folder)) for path in sorted((folder / "data").iterdir())),
    ]
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "table.csv").write_text(
        "path,label\n" + "".join(f"data/{number}.png,{number % 2}\n" for number in range(6))
    )
    table = folder / rng.choice(("table.csv", "odd.csv"))
    if table.name == "odd.csv":
        _make(rng.choice(("pipe", "device", "circle", "folder", "empty")), table)
    return folder, rng.choice(("data", "list.txt")), table, odd


def try_case(case):
    folder, source, table, odd = case
    dataset = ImageFolderDataset(folder / source, max_broken=1, index_cache=folder / "cache")
    broken = 0
    for index in range(len(dataset)):
        sample = dataset.load(index)
        broken += bool(sample["skipped"])
        name = os.path.basename(dataset.name_of(index))
        if name[:-4].isdigit() and not sample["skipped"]:
            assert torch.equal(sample["inputs"], torch.full((3, 20, 30), int(name[:-4]), dtype=torch.uint8))
    files = index_files(folder / source, folder / "cache")
    assert len(measure(files, range(len(files))).broken) == broken
    CsvDataset(table)
    assert broken or source == "list.txt" or not set(odd) - {"folder", "to itself", "long"} or len(dataset) == 6
    return "counted" if broken else "right"
