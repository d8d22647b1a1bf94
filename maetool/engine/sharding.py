"""Sharding of a model over processes (torch's `fully_shard`, FSDP2), invisible in checkpoints."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.dist import broadcast, get_world_size
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from .blocks import blocks_of


def shard(model: nn.Module) -> nn.Module:
    """Split the parameters of every block, and of the rest, over all processes, in place; the first one's count.

    Every process holds its share of weights, gradients and optimiser state; a block's weights are gathered when it
    runs. Gradients are means over the processes, as with `DistributedDataParallel`.
    """
    for value in model.state_dict().values():
        broadcast(value)
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (get_world_size(),))
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Keep the weights of a sharded model whole, so that processes may run it different numbers of times."""
    sharded = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in sharded:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    yield
    for part in sharded:
        part.reshard()
        part.set_reshard_after_forward(part is not model, recurse=False)  # torch's own default: all but the root


def whole(value: Any) -> Any:
    """Return a value with every sharded tensor in it gathered; all processes must call it together."""
    if isinstance(value, DTensor):
        return value.detach().full_tensor()
    if isinstance(value, Mapping):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole(item) for item in value]
    return value


def like(value: Tensor, example: Tensor) -> Tensor:
    """Return a whole tensor on the device of `example`, and sharded as `example` is, if it is of the same shape."""
    value = value.to(example.device)
    if not isinstance(example, DTensor) or value.shape != example.shape:
        return value
    return distribute_tensor(value, example.device_mesh, example.placements)


def load_weights_into(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load whole weights, which must fit, into a model that may be sharded."""
    own = model.state_dict()
    model.load_state_dict({name: like(value, own[name]) for name, value in weights.items()})


def shard_optimizer_state(state: Mapping[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
    """Return an optimiser's state dict of whole tensors, sharded as the parameters it belongs to."""
    entries = {
        number: {
            name: like(value, parameters[number]) if isinstance(value, Tensor) and value.ndim else value
            for name, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    return {**state, "state": entries}


def is_sharded(model: nn.Module) -> bool:
    """Return whether any parameter of the model is split over processes."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def spread_gradients(gradients: list[Tensor | None], parameters: list[nn.Parameter]) -> None:
    """Put whole gradients back where they were gathered, sharded as the parameters are."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else like(gradient, parameter.detach())
