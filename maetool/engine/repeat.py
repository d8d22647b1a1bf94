"""Stores a step whose loss or gradient was not finite, and repeats it."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maetool.annotations import fits
from maetool.config.earlier import as_trained
from maetool.config.trust import build_trusted, trusted
from maetool.data.collate import part_of, samples_in
from maetool.engine.optim.wrapper import choose_dtype, name_of, report_of
from maetool.errors import UsageError
from maetool.metadata.provenance import versions
from maetool.metadata.stored_config import read_section
from maetool.parallel.loading import load_weights
from maetool.parallel.sharding import is_sharded
from maetool.protocols import RunnerLike
from maetool.registry import MODELS
from maetool.structures import part_of_plan, plan_from_dict, plan_to_dict
from maetool.weights.read import read_checkpoint

from .state import step_seed

# What the file of a step holds, and which facts.
_PARTS: dict[str, Any] = {"meta": Mapping, "batch": Mapping, "plan": Mapping | None, "state_dict": Mapping}
_FACTS = {"iter": int, "epoch": int, "seed": int, "process": int, "fault": str, "dtype": str}


def describe_step(runner: RunnerLike, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything needed to repeat the step of a batch, except the weights, and where they are sharded the plan.

    Such a plan is for all processes together to make, see `plan_of`, while one alone may see a fault.
    """
    step = report_of(runner.optim_wrapper)
    meta = {"iter": runner.iter + 1, "epoch": runner.epoch, "seed": runner.seed, "process": runner.rank}
    meta |= {"fault": step.fault, "dtype": name_of(step.dtype), "versions": versions()}
    stored = _tensors_in(batch)
    return {
        "meta": {**meta, **runner.config_facts},
        "batch": stored,
        "plan": None if is_sharded(runner.bare_model) else plan_of(runner.bare_model, batch),
    }


def _tensors_in(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a batch, and the mappings of tensors, such as `inputs` of several views."""
    kept = {name: _tensors_in(value) if isinstance(value, Mapping) else value for name, value in batch.items()}
    return {
        name: value for name, value in kept.items() if isinstance(value, Tensor) or (isinstance(value, dict) and value)
    }


@torch.no_grad()
def plan_of(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the mask plan of a batch; None for a model without masking."""
    if not hasattr(model, "make_plan"):
        return None
    data = model.data_preprocessor(dict(batch))
    return plan_to_dict(model.make_plan(data["images"], data["data_samples"]))


class RepeatedStep:
    """A step from a file that `NonFiniteHook` wrote; `run` repeats it.

    Args:
        path: the file.
        dtype: precision to repeat in; None takes that of the run.
        model: the section of a config that is trusted; None takes what the file says, which may be a stranger's, so
            that it is built of registered parts alone, which open no further files.

    Raises:
        UsageError: no such file, or not one of a step.
    """

    def __init__(self, path: str, dtype: str | None = None, model: Mapping[str, Any] | None = None) -> None:
        step = read_checkpoint(path)
        _check_step(step, path)
        self.path, self.meta, self.batch, self.plan = path, step["meta"], step["batch"], step["plan"]
        self.dtype = choose_dtype(dtype or self.meta["dtype"])
        self.model = (MODELS.build(model) if model is not None else _described(step, path)).train()
        load_weights(self.model, step["state_dict"], path)

    def run(self) -> dict[str, Any]:
        """Return what came out.

        `loss` of the batch, `first`: the name of the first module whose output is not finite, `gradients`: names of
        parameters whose gradient is not, `samples`: places in the batch of images whose own loss is not.

        Raises:
            UsageError: batch or plan are none of the model.
        """
        try:
            return self._outcome()
        except UsageError:
            raise
        except Exception as error:  # whatever tensors of other shapes and kinds make a model raise
            reason = str(error).strip().split("\n")[0][:200]
            raise UsageError(
                f"The step in {self.path} cannot be done again ({type(error).__name__}: {reason}): its batch, its plan "
                "and its model do not fit each other. Pass the file as the run wrote it, and the run's --config."
            ) from error

    def _outcome(self) -> dict[str, Any]:
        first: list[str] = []
        handles = [module.register_forward_hook(_watch(name, first)) for name, module in self.model.named_modules()]
        torch.manual_seed(step_seed(self.meta["seed"], self.meta["iter"] - 1, self.meta["process"]))
        loss = self._loss(slice(None))
        loss.backward()
        for handle in handles:
            handle.remove()
        gradients = [n for n, p in self.model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        return {
            "loss": loss.item(),
            "first": first[0] if first else "",
            "gradients": gradients,
            "samples": self._samples(),
        }

    @torch.no_grad()
    def _samples(self) -> list[int]:
        self.model.eval()  # a single image has neither a partner to be mixed with nor the statistics of a batch
        numbers = range(samples_in(self.batch["inputs"]))
        return [i for i in numbers if not self._loss(slice(i, i + 1)).isfinite()]

    def _loss(self, part: slice) -> Tensor:
        batch = part_of(self.batch, part)
        data = self.model.data_preprocessor(batch, self.model.training)
        if self.plan is not None:
            data["plan"] = part_of_plan(plan_from_dict(self.plan), part)
        with torch.autocast("cpu", self.dtype, enabled=self.dtype is not torch.float32):
            losses = self.model(**data, mode="loss")
        return self.model.parse_losses(losses)[0]


def _described(step: Mapping[str, Any], path: str) -> nn.Module:
    section = read_section(step["meta"], "model")
    if section is None:
        raise UsageError(f"{path} does not say of which model the step is: pass the config of the run with --config.")
    section = as_trained(trusted(section, path), step["meta"])
    return build_trusted(section, MODELS, step["state_dict"], path)


def _check_step(step: Mapping[str, Any], path: str) -> None:
    for name, hint in _PARTS.items():
        if name not in step or not fits(step[name], hint):
            found = f"is a {type(step[name]).__name__}" if name in step else "is not there"
            raise UsageError(f"{path} holds no step ({name} {found}): pass a file of the folder broken_steps of a run.")
    wrong = [name for name, hint in _FACTS.items() if not fits(step["meta"].get(name), hint)]
    wrong += [name for name in ("batch", "state_dict") if not all(isinstance(v, Tensor) for v in _leaves(step[name]))]
    if wrong or "inputs" not in step["batch"]:
        raise UsageError(
            f"{path} holds a step whose {wrong[0] if wrong else 'inputs'} cannot be read: pass a file of the folder "
            "broken_steps of a run, as it was written."
        )


def _leaves(values: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what a mapping holds, and instead of a mapping in it, what that holds; an empty one itself."""
    for value in values.values():
        if isinstance(value, Mapping) and value:
            yield from value.values()
        else:
            yield value


def _watch(name: str, first: list[str]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if not first and isinstance(output, Tensor) and not output.isfinite().all():
            first.append(name)

    return hook
