"""The validation loops of 0.1, which are `ValLoop` with evaluators of their own choice."""

from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log

from maetool.config.earlier_loops import EARLIER_LOOPS, as_val_loop


def evaluators_of(
    loop: type, arguments: Mapping[str, Any], inherited: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the evaluators of a loop of 0.1, or of a subclass of one.

    Args:
        loop: the class.
        arguments: `k`, `temperature` and `linear_probe` of the loops that have them.
        inherited: the `evaluators` that a config has from its bases, which such a loop leaves out and says so.
    """
    kind = next(base.__name__ for base in loop.__mro__ if base.__name__ in EARLIER_LOOPS)
    own = as_val_loop({"type": kind, **arguments})["evaluators"]
    if inherited:
        print_log(
            f"val_cfg.type={loop.__name__} measures {', '.join(own)} alone, without the config's evaluators "
            f'({", ".join(inherited)}): write type="ValLoop" to have them.',
            "current",
            30,
        )
    return own
