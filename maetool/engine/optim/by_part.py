"""Several optimisers, each for some parts of the model, which make their steps together."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .names import names_of_optimizers, shared_settings
from .wrapper import AutocastOptimWrapper, update_together


class AutocastOptimWrapperDict(OptimWrapperDict):
    """Several optimisers of one loss: one forward and one backward pass, then a step of each on its own parameters.

    A method whose parts learn from different losses adds these up, each with gradients into its own part only, as
    `AdaptiveMasker` does. MMEngine's own dict leaves all of this to the model's `train_step`. A step that is not finite
    is skipped by all. Their gradients are clipped, and their norms and rates are logged, one by one.

    Args:
        wrappers: name to wrapper, with the same precision, guard and number of accumulated iterations.

    Raises:
        UsageError: a wrapper of another class.
    """

    def __init__(self, wrappers: Mapping[str, OptimWrapper]) -> None:
        for name, one in wrappers.items():
            if not isinstance(one, AutocastOptimWrapper):
                raise UsageError(
                    f"The optimiser {name} has the wrapper {type(one).__name__}, but several that step together need "
                    'AutocastOptimWrapper: set optim_wrapper.type="AutocastOptimWrapper".'
                )
        super().__init__(**wrappers)
        self._every: list[Any] = list(wrappers.values())
        for name, one in wrappers.items():
            one.prefix, one.loss_scaler = f"{name}.", self._every[0].loss_scaler

    def update_params(self, loss: Tensor, step_kwargs: Any = None, zero_kwargs: Any = None) -> None:
        """Accumulate the gradients of a scalar loss; when the step is due, make those of all optimisers, or skip it."""
        update_together(self._every, loss)

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]:
        """Run the forward pass in mixed precision, without synchronising gradients between optimiser steps."""
        return self._every[0].optim_context(model)

    def initialize_count_status(self, model: nn.Module, cur_iter: int, max_iters: int) -> None:
        """Tell every optimiser the position of the run, for the accumulation of gradients.

        Args:
            model: that is trained.
            cur_iter: iterations that are done.
            max_iters: iterations of the run.
        """
        for one in self._every:
            one.initialize_count_status(model, cur_iter, max_iters)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class OptimizersByPartConstructor:
    """An optimiser of its own for some parts of the model, as for a masker or an online clustering with its own loss.

    ```python
    optim_wrapper = dict(
        _delete_=True,
        type="AutocastOptimWrapper",
        constructor="OptimizersByPartConstructor",
        main=dict(optimizer=dict(type="AdamW", betas=(0.9, 0.95), weight_decay=0.05)),
        masker=dict(parts="masker", optimizer=dict(type="AdamW", lr=1e-4), clip_grad=dict(max_norm=1.0)),
    )
    ```

    What stands beside the names (`dtype`, `accumulative_counts`, `guard`, `clip_grad`) is for all. Every name has an
    `optimizer`, and may have `clip_grad`, `paramwise_cfg` and a `constructor`, by default `DecayGroupsConstructor`.
    `parts` is the name of a module, or a list of these; one optimiser without `parts` takes all the others. Rates that
    are left out follow `base_lr`. `param_scheduler` is one list for all, or a dict with a list for each name.

    Args:
        optim_wrapper_cfg: config of the wrappers, with those of the optimisers under their names.
        paramwise_cfg: must be None; each optimiser has its own.

    Raises:
        UsageError: no name of an optimiser.
    """

    by_part: ClassVar = True

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        self.names = names_of_optimizers(optim_wrapper_cfg)
        if paramwise_cfg or not self.names:
            raise UsageError(
                f"OptimizersByPartConstructor got {paramwise_cfg=} and the optimisers {self.names}: name at least one "
                "optimiser, and give each its own paramwise_cfg."
            )
        self.shared = shared_settings(optim_wrapper_cfg)
        self.entries = {name: dict(optim_wrapper_cfg[name]) for name in self.names}

    def __call__(self, model: nn.Module) -> AutocastOptimWrapperDict:
        """Return the wrappers around the optimisers of all parameters of `model` that require a gradient.

        Raises:
            UsageError: see `divide`.
        """
        bare = getattr(model, "module", model)
        divided = divide(bare, {name: entry.pop("parts", None) for name, entry in self.entries.items()})
        return AutocastOptimWrapperDict({name: self._build(name, bare, own) for name, own in divided.items()})

    def _build(self, name: str, model: nn.Module, own: Sequence[nn.Parameter]) -> OptimWrapper:
        entry = {**self.shared, **self.entries[name]}
        kind, paramwise = entry.pop("constructor", "DecayGroupsConstructor"), entry.pop("paramwise_cfg", None)
        arguments = {"optim_wrapper_cfg": entry, "paramwise_cfg": paramwise}
        constructor = OPTIM_WRAPPER_CONSTRUCTORS.build({"type": kind, **arguments})
        with _trained_alone(model, own):
            wrapper: OptimWrapper = constructor(model)
            for group in wrapper.optimizer.param_groups:  # MMEngine's constructor includes frozen parameters
                group["params"] = [parameter for parameter in group["params"] if parameter.requires_grad]
        groups = wrapper.optimizer.param_groups
        groups[:] = [group for group in groups if group["params"]]
        return wrapper


def divide(model: nn.Module, parts: Mapping[str, Any]) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each optimiser: every parameter that requires a gradient is one optimiser's.

    Args:
        model: the model.
        parts: name of an optimiser to the name of a module or parameter, or a list of such names; None, the others.

    Raises:
        UsageError: a name that the model lacks or that nothing is trained in, a parameter of no or of two optimisers.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    owners: dict[str, str] = {}
    for optimizer, part in _pairs(parts):
        inside = [name for name in trained if f"{name}.".startswith(f"{part}.")]
        if not inside:
            raise UsageError(
                f"optim_wrapper.{optimizer}.parts has {part!r}, but the model trains nothing of that name: it has "
                f"{', '.join(dict.fromkeys(name.split('.')[0] for name in trained))}."
            )
        for name in inside:
            if owners.setdefault(name, optimizer) != optimizer:
                raise UsageError(
                    f"The parameter {name} belongs to two optimisers, {owners[name]} and {optimizer}: take it out of "
                    "the parts of one."
                )
    rest = [name for name, part in parts.items() if part is None]
    left = [name for name in trained if name not in owners]
    if len(rest) > 1 or bool(rest) != bool(left):
        raise UsageError(_about_the_rest(rest, left))
    owners |= dict.fromkeys(left, *rest)
    return {name: [trained[key] for key in trained if owners[key] == name] for name in parts}


def _pairs(parts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for optimizer, given in parts.items():
        several = [given] if isinstance(given, str) else given
        right = isinstance(several, list | tuple) and several and all(isinstance(part, str) for part in several)
        if given is not None and not right:
            raise UsageError(
                f"optim_wrapper.{optimizer}.parts is {given!r}, but must be the name of a part of the model, such as "
                '"masker", or a list of names.'
            )
        yield from ((optimizer, part) for part in several or ())


def _about_the_rest(rest: Sequence[str], left: Sequence[str]) -> str:
    if len(rest) > 1:
        return f"The optimisers {' and '.join(rest)} have no `parts`, but only one can take all that remains: add them."
    if rest:
        return f"The optimiser {rest[0]} has no `parts`, and the others leave it nothing: remove it, or name its parts."
    return (
        f"The parameter {left[0]} and {len(left) - 1} more belong to no optimiser: add their part to the `parts` of "
        "one, or an optimiser without `parts`, which takes all that remains."
    )


@contextmanager
def _trained_alone(model: nn.Module, own: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let only these parameters of a model require a gradient, as constructors of optimisers look at that."""
    chosen = {id(parameter) for parameter in own}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
