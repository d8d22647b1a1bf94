"""The validation loops of 0.1, which are `ValLoop` with fixed evaluators."""

from collections.abc import Mapping
from typing import Any

from maetool.config.earlier_loops import EARLIER_LOOPS, as_val_loop
from maetool.messages import print_log


def evaluators_of(
    loop: type, arguments: Mapping[str, Any], inherited: Mapping[str, Any] | None = None, bank: Any = None
) -> dict[str, dict[str, Any]]:
    """Return the evaluators of a loop of 0.1, or of a subclass of one, and warn of arguments that it does not use.

    Args:
        loop: the class.
        arguments: `k`, `temperature` and `linear_probe` of the loops that have them.
        inherited: the `evaluators` of the config, which the loop does not use.
        bank: the `bank_dataloader` of the config, if the loop does not use it.
    """
    kind = next(base.__name__ for base in loop.__mro__ if base.__name__ in EARLIER_LOOPS)
    own = as_val_loop({"type": kind, **arguments})["evaluators"]
    if inherited:
        print_log(
            f"val_cfg.type={loop.__name__} measures only {', '.join(own)}, without the config's evaluators "
            f'({", ".join(inherited)}): use type="ValLoop" to run these.',
            30,
        )
    if bank is not None:
        print_log(
            f"val_cfg.type={loop.__name__} measures only {', '.join(own)} and does not use val_cfg.bank_dataloader: "
            'remove it, or use type="ValLoop" with a KnnEvaluator among its evaluators.',
            30,
        )
    return own
