"""Groups of processes beside the one that training uses."""

from functools import cache
from typing import Any

from torch import distributed


def host_group() -> Any:
    """Return a group of all processes whose CPUs exchange numbers; None is the default group, if that is gloo's.

    All processes must call it together the first time.
    """
    return _host_group(distributed.group.WORLD)


@cache  # a group of its own would have to be opened each time
def _host_group(world: Any) -> Any:
    if distributed.get_backend(world) == "gloo":
        return None
    return distributed.new_group(backend="gloo", timeout=distributed.distributed_c10d._get_default_timeout("gloo"))
