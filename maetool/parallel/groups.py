"""Groups of processes beside the one that training uses."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import distributed


@contextmanager
def group_of_torchrun() -> Iterator[bool]:
    """Join the processes that torchrun started with this one, if it did, each with a device of its own.

    They exchange results by their CPUs. Yields whether this process is the first one, or alone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield not distributed.is_initialized() or distributed.get_rank() == 0
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("gloo")
    try:
        yield distributed.get_rank() == 0
        distributed.barrier()  # a process that leaves early would end the job of the others
    finally:
        distributed.destroy_process_group()


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


def ddp_options(cfg: Any) -> dict[str, Any]:
    """Return the options of DDP: gradients are views of its buckets, and their order is learned once.

    The graph of a step is the same in all steps, unless the config says otherwise, or accumulates without an exchange.

    Args:
        cfg: of the run.
    """
    unused = bool(cfg.get("find_unused_parameters", False))
    wrapper = cfg.get("optim_wrapper") or {}
    several = [wrapper, *(each for each in wrapper.values() if isinstance(each, Mapping))]  # of each optimiser
    accumulates = any(each.get("accumulative_counts", 1) > 1 for each in several)
    options = {"broadcast_buffers": False, "gradient_as_bucket_view": True, "find_unused_parameters": unused}
    return {**options, "static_graph": not unused and not accumulates}
