"""maetool: a toolbox for masked image modelling. Importing it imports nothing heavy."""

from typing import Any

from . import _deprecated

__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    """Import `load_encoder`, the one function for a notebook, when it is asked for."""
    if name == "load_encoder":
        from maetool.pretrained.encoder import load_encoder

        return load_encoder
    raise AttributeError(f"module 'maetool' has no attribute {name!r}")


_deprecated.install()
