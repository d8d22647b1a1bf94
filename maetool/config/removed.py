"""Names of configs that maetool no longer ships, and what to write instead."""

import re
from pathlib import PurePath

# Removed configs that differed only in their number of epochs and had no published result, and the one that remains.
_LEAVES = {
    **dict.fromkeys(("mae/vit-t_400e.py", "mae/vit-t_1600e.py"), "mae/vit-t_800e.py"),
    **dict.fromkeys(("mae/vit-s_400e.py", "mae/vit-s_1600e.py"), "mae/vit-s_800e.py"),
    **dict.fromkeys(("mae/vit-h_400e.py", "mae/vit-h_800e.py"), "mae/vit-h_1600e.py"),
}
# Base models that had a family and an encoder in one file.
_MODEL = re.compile(
    r"_base_/models/(mae|classifier|linear|localmim|mff|beit|simmim|upernet|vitdet)_((?:vit|swin)-[tsblh])(_shapes)?\.py"
)


def instead_of(name: str) -> str:
    """Return a sentence on a removed config of maetool, without its full stop; empty for any other name.

    Args:
        name: a path, or `maetool::mae/vit-s_400e.py`, with or without `.py`.
    """
    path = PurePath(name.replace("::", "/").removesuffix(".py") + ".py")
    leaf, base = "/".join(path.parts[-2:]), "/".join(path.parts[-3:])
    if leaf in _LEAVES:
        return _leaf(leaf, _LEAVES[leaf])
    match = _MODEL.fullmatch(base)
    return _model(*match.groups()) if match else ""


def _leaf(gone: str, left: str) -> str:
    folder, stem = gone.removesuffix(".py").split("/")
    epochs = stem.split("_")[1].removesuffix("e")
    return (
        f"it differed from maetool::{left} only in its number of epochs; use that config with --cfg-options "
        f"train_cfg.max_epochs={epochs}, or with train_cfg = dict(max_epochs={epochs}) in a config that inherits from "
        f"it; to resume a run of the removed config, add --work-dir work_dirs/{folder}_{stem}"
    )


def _model(family: str, size: str, shapes: str | None) -> str:
    encoder = {"vitdet": size.replace("vit", "vitdet"), "beit": "beit-b"}.get(family, size)
    encoder = "beit-b" if (family, size) == ("simmim", "vit-b") else encoder
    family, shapes = {"linear": "mask_tokens"}.get(family, family), shapes or ""
    return (
        f"it is now two files, maetool::_base_/encoders/{encoder}{shapes}.py and maetool::_base_/models/{family}"
        f"{shapes}.py: name both in _base_, and write model = dict(encoder=_base_.encoder)"
    )
