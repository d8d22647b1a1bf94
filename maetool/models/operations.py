"""How many operations a training step needs, counted without computing any."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

_SAMPLES = 2  # batch normalisation wants more than one


def operations_per_sample(model: nn.Module, batch: Mapping[str, Any]) -> float | None:
    """Return the operations of the products of a forward and backward pass, for one sample; None if they do not count.

    Each is counted once, also if its activations are computed again in the backward pass; what targets need, such as a
    teacher, is not. The model is copied without its weights, to the meta device.

    Args:
        model: one that returns a `loss`, with a `data_preprocessor`.
        batch: as the loader gives it, of at least two samples.
    """
    try:
        part = tree_map_only(Tensor, lambda x: x[:_SAMPLES].cpu(), dict(batch))
        shadow: Any = _without_weights(model).train()
        data = shadow.data_preprocessor(part, True)  # may resize by products, which are none of the model's
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # others compute scores twice
            _output(shadow, data).backward()
        return counter.get_total_flops() / _SAMPLES
    except Exception:  # a model may read numbers, which nothing on the meta device has
        return None


def _output(model: Any, data: Mapping[str, Any]) -> Tensor:
    """Return a scalar with the gradients of a step."""
    if not hasattr(model, "decoders"):
        return model(**data, mode="loss")["loss"]
    plan = model.make_plan(data["images"], data["data_samples"])
    plans = [plan, *(plan.predicting(task.at) for task in model.tasks.values())]
    parts = zip(model.decoders, model.read(data["images"], plan), plans, strict=True)
    return sum((decoder(latent, each).sum() for decoder, latent, each in parts), torch.zeros((), device="meta"))


def _without_weights(model: nn.Module) -> Any:
    held = [*model.parameters(), *model.buffers()]
    memo: dict[int, Any] = {
        id(x): nn.Parameter(x.detach().to("meta"), x.requires_grad) if isinstance(x, nn.Parameter) else x.to("meta")
        for x in held
    }
    shadow: Any = copy.deepcopy(model, memo)
    for module in shadow.modules():
        vars(module).pop("forward", None)  # one that computes activations again belongs to the model's own block
        module._compiled_call_impl = None
        if isinstance(getattr(module, "_device", None), torch.device):
            module._device = torch.device("meta")  # of a preprocessor
    return shadow
