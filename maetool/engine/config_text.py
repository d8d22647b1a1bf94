"""The old place of what is in `maetool.config_stored`; maetool 0.3.0 removes it."""

import warnings

from mmengine import ConfigDict

from maetool import config_stored
from maetool._deprecated import moved


def read_section(text: str, name: str) -> ConfigDict | None:
    """Return the section `name` of a config's text; see `maetool.config_stored.read_section`.

    Args:
        text: as a run writes it to its checkpoints: assignments of literals and calls of `dict`.
        name: the variable.
    """
    warnings.warn(
        "maetool.engine.config_text.read_section is now maetool.config_stored.read_section, which takes the "
        "`meta` of a checkpoint; maetool 0.3.0 removes the old name.",
        DeprecationWarning,
        stacklevel=2,
    )
    return config_stored.read_section({"cfg": text}, name)


__getattr__ = moved(__name__, {"read_values": "maetool.config_stored.read_text"}, "0.3.0")
