"""Text lists of files, and the cache of the names in a folder."""

import numpy as np
from damage import bytes_damaged, text_damaged

from maetool.data.codecs.images import UnreadableImage
from maetool.data.sources.file_index import index_files

NAMES = [f"{folder}/{number}.png" for folder in ("a", "b") for number in range(4)]


def make_case(rng, folder):
    for name in NAMES:
        (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data" / name).write_bytes(b"x")
    cache = folder / "cache"
    if rng.random() < 0.5:
        text = "# a comment\n" + "".join(f"data/{name}\n" for name in NAMES)
        whole = rng.random() < 0.1
        (folder / "list.txt").write_bytes(text.encode() if whole else text_damaged(rng, text))
        return folder / "list.txt", cache, [f"data/{name}" for name in NAMES] if whole else None
    index_files(folder / "data", cache)
    (kept,) = cache.iterdir()
    if rng.random() < 0.5:
        kept.write_bytes(bytes_damaged(rng, kept.read_bytes()))
    else:
        arrays = dict(np.load(kept))
        arrays["began_ns"] = arrays["began_ns"] + 10**13  # the folder counts as quiet, so that the cache is believed
        chosen = rng.choice([name for name in arrays if name != "name_blob"])
        odd = (
            np.zeros(3),
            np.zeros((2, 2), np.int64),
            arrays[chosen][..., None],
            np.array("x"),
            arrays["states"] * 0 - 5,
        )
        arrays[chosen] = rng.choice(odd)
        np.savez(kept, **arrays)
    return folder / "data", cache, NAMES


def try_case(case):
    root, cache, expected = case
    files = index_files(root, cache)
    found = [files.relative(place) for place in range(len(files))]
    if expected is not None:
        assert found == expected
        return "right"
    broken = 0
    for place in range(len(files)):
        try:
            files.read(place)
        except UnreadableImage:
            broken += 1
    return "counted" if broken else "right"
