"""The old place of what is in `maetool.metadata.stored_config`; maetool 0.3.0 removes it."""

import warnings

from mmengine import ConfigDict

from maetool._deprecated import moved
from maetool.metadata import stored_config as config_stored


def read_section(text: str, name: str) -> ConfigDict | None:
    """Return the section `name` of a config's text; see `maetool.metadata.stored_config.read_section`.

    Args:
        text: a config as 0.1 wrote it to checkpoints: assignments of literals and calls of `dict`.
        name: the variable.
    """
    warnings.warn(
        "maetool.engine.config_text.read_section is now maetool.metadata.stored_config.read_section, which takes the "
        "`meta` of a checkpoint; maetool 0.3.0 removes the old name.",
        DeprecationWarning,
        stacklevel=2,
    )
    return config_stored.read_section({"cfg": text}, name)


__getattr__ = moved(__name__, {"read_values": "maetool.metadata.stored_config.read_text"}, "0.3.0")
