"""Repeats a step whose loss or gradient was not finite, from the file that `NonFiniteHook` wrote."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maetool._deprecated import moved
from maetool.annotations import fits
from maetool.compat import seed_generators
from maetool.config.earlier import as_trained
from maetool.config.trust import build_trusted, trusted
from maetool.data.collate import part_of, samples_in
from maetool.engine.optim.precision import choose_dtype
from maetool.errors import UsageError
from maetool.metadata.stored_config import read_section
from maetool.parallel.loading import load_weights
from maetool.registry import MODELS
from maetool.structures import part_of_plan, plan_from_dict
from maetool.weights.read import read_checkpoint

from .state import step_seed

# The parts of a step's file, and the entries of its `meta`, with their types.
_PARTS: dict[str, Any] = {"meta": Mapping, "batch": Mapping, "plan": Mapping | None, "state_dict": Mapping}
_FACTS = {"iter": int, "epoch": int, "seed": int, "process": int, "fault": str, "dtype": str}


class RepeatedStep:
    """A step from a file that `NonFiniteHook` wrote; `run` repeats it.

    Args:
        path: the file.
        dtype: precision to repeat in; None is that of the run.
        model: the model section of a trusted config; None is the description in the file, which is not trusted: it is
            built from registered parts only, which open no further files.

    Raises:
        UsageError: the file does not exist or does not hold a step.
    """

    def __init__(self, path: str, dtype: str | None = None, model: Mapping[str, Any] | None = None) -> None:
        step = read_checkpoint(path)
        _check_step(step, path)
        self.path, self.meta, self.batch, self.plan = path, step["meta"], step["batch"], step["plan"]
        self.dtype = choose_dtype(dtype or self.meta["dtype"])
        self.model = (MODELS.build(model) if model is not None else _described(step, path)).train()
        load_weights(self.model, step["state_dict"], path)

    def run(self) -> dict[str, Any]:
        """Repeat the step and return the result.

        `loss` of the batch; `first`: the name of the first module whose output is not finite; `gradients`: names of
        parameters with a gradient that is not finite; `samples`: positions in the batch of images whose own loss is
        not finite.

        Raises:
            UsageError: batch or plan do not fit the model.
        """
        try:
            return self._outcome()
        except UsageError:
            raise
        except Exception as error:  # models raise anything on tensors of wrong shapes and types
            reason = str(error).strip().split("\n")[0][:200]
            raise UsageError(
                f"The step in {self.path} cannot be repeated ({type(error).__name__}: {reason}): its batch, plan "
                "and model do not fit each other. Pass the unchanged file of the run, and the run's config with "
                "--config."
            ) from error

    def _outcome(self) -> dict[str, Any]:
        first: list[str] = []
        handles = [module.register_forward_hook(_watch(name, first)) for name, module in self.model.named_modules()]
        seed_generators(step_seed(self.meta["seed"], self.meta["iter"] - 1, self.meta["process"]))
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
        self.model.eval()  # mixing images and batch statistics need more than one image
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
        raise UsageError(f"{path} does not describe the model of the step: pass the config of the run with --config.")
    section = as_trained(trusted(section, path), step["meta"])
    return build_trusted(section, MODELS, step["state_dict"], path)


def _check_step(step: Mapping[str, Any], path: str) -> None:
    for name, hint in _PARTS.items():
        if name not in step or not fits(step[name], hint):
            problem = f"is a {type(step[name]).__name__}" if name in step else "is missing"
            raise UsageError(
                f"{path} holds no step ({name} {problem}): pass a file of the folder broken_steps of a run."
            )
    wrong = [name for name, hint in _FACTS.items() if not fits(step["meta"].get(name), hint)]
    wrong += [name for name in ("batch", "state_dict") if not all(isinstance(v, Tensor) for v in _leaves(step[name]))]
    if wrong or "inputs" not in step["batch"]:
        raise UsageError(
            f"{path} holds a step whose {wrong[0] if wrong else 'inputs'} cannot be read: pass a file of the folder "
            "broken_steps of a run, as it was written."
        )


def _leaves(values: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of a mapping, and those of mappings in it; an empty mapping is yielded itself."""
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


__getattr__ = moved(__name__, {"describe_step": "maetool.engine.hooks.guard.describe_step"}, "0.3.0")
