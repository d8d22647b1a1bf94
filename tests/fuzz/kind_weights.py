"""Files of weights: torch's archives and old format, safetensors with and without a checksum, pickles, folders."""

import json
import pickle
import struct

import numpy as np
import torch
from damage import ODD_VALUES, bytes_damaged, value_damaged
from safetensors.torch import save

from maetool.pretrained.export import write_weights
from maetool.weights.read import read_checkpoint, weights_of
from maetool.weights.write import write_checkpoint

META = {"epoch": 3, "encoder": {"type": "VisionTransformer", "img_size": [8, 8]}}
CHECKED = ("ours.pth", "ours.safetensors")


class Gadget:
    def __reduce__(self):
        return print, ("this ran",)


def _weights(rng):
    values = np.random.default_rng(rng.randrange(2**32))
    return {
        "encoder.cls_token": torch.from_numpy(values.normal(size=(1, 1, 8)).astype(np.float32)),
        "encoder.blocks.0.mlp.fc1.weight": torch.from_numpy(values.normal(size=(16, 8))).half(),
        "counter": torch.tensor(5),
    }


def make_case(rng, folder):
    weights, kind = _weights(rng), rng.choice((*CHECKED, *CHECKED, "old.pth", "plain.safetensors", "liar", "pickle"))
    path, state = folder / kind, {"meta": META, "state_dict": weights}
    whole = rng.random() < 0.15
    if kind == "ours.pth":
        write_checkpoint(state, path)
    elif kind == "ours.safetensors":
        write_weights(state, path)
    elif kind == "old.pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif kind == "plain.safetensors":
        path.write_bytes(save(weights))
    elif kind == "liar":
        path, whole = folder / "liar.safetensors", False
        path.write_bytes(_with_header(rng, save(weights, {"format": "pt"})))
    else:
        path, whole = folder / rng.choice(("gadget.pth", "gadget.safetensors", "gadget.bin")), False
        if rng.random() < 0.5:
            torch.save({"a": Gadget(), **state}, path)
        else:
            path.write_bytes(pickle.dumps(rng.choice((Gadget(), [1], {"a": rng.choice(ODD_VALUES)}))))
    if not whole and kind in (*CHECKED, "old.pth", "plain.safetensors"):
        path.write_bytes(bytes_damaged(rng, path.read_bytes()))
    return (folder if rng.random() < 0.1 else path), kind, whole, weights


def _with_header(rng, data):
    """Return a file of safetensors whose header says something else than what follows."""
    length = struct.unpack("<Q", data[:8])[0]
    header = value_damaged(rng, json.loads(data[8 : 8 + length]))
    text = rng.choice((json.dumps(header), json.dumps(header), "[" * 100_000, '{"a":' * 50_000)).encode()
    stated = rng.choice((len(text), len(text), len(text), 2**63, 2**31, 0))
    return struct.pack("<Q", stated) + text + data[8 + length :]


def try_case(case):
    path, kind, whole, weights = case
    state = read_checkpoint(path)
    found = weights_of(state, path)
    same = found.keys() == weights.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in weights.items()
    )
    if whole or kind in CHECKED:
        assert same, "other weights than those that were written"
        assert kind not in CHECKED or state["meta"] == META, "other facts than those that were written"
    return "right"
