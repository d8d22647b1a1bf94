"""Compilation: block by block, or of a complete encoder and decoder; and CUDA graphs."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from maetool.errors import UsageError

from .blocks import blocks_of

_VARIANTS = 4  # per compiled module: training shapes, such as different numbers of visible patches
_SCOPES = ("blocks", "parts")
# torch's names of the modes that record CUDA graphs, and how to do without.
_MODES = {
    "reduce-overhead": "remove compile.mode",
    "max-autotune": "set compile.mode=max-autotune-no-cudagraphs",
}


def compile_model(
    model: nn.Module, options: Mapping[str, Any] | bool, device: str = "cpu", sharded: bool = False
) -> str:
    """Compile a model in place as a config says, and return what is compiled, such as "12 blocks".

    Args:
        model: any model.
        options: True, or the arguments of `torch.compile` and `scope`: "blocks", by default, or "parts", which compiles
            encoder and decoders as one graph each, with the mask plan as an input. A part is compiled once for each
            shape of the plan.
        device: where it will run.
        sharded: whether it will be split over processes, see `shard`.

    Raises:
        UsageError: `options` has a wrong type or an unknown scope, there is nothing to compile, CUDA graphs are wanted
            on another device or with shapes that vary, or more than blocks of a model that will be sharded.
    """
    check_options(options, device, sharded)
    given = _arguments(options)
    graphs = recording_of(given, device)
    if given.pop("scope", "blocks") == "blocks":
        blocks = {f"block {number}": block for number, block in enumerate(blocks_of(model))}
        _compile(blocks, given, graphs)
        return f"{len(blocks)} blocks"
    parts = parts_of(model)
    if not parts:
        raise UsageError(f"{type(model).__name__} has no `encoder` or `decoder` to compile: set compile.scope=blocks.")
    _compile(parts, given, graphs)
    return " and ".join(parts)


def check_options(options: Any, device: str = "cpu", sharded: bool = False) -> None:
    """Check the value of `compile` in a config, without a model.

    Args:
        options, device, sharded: as for `compile_model`.

    Raises:
        UsageError: as by `compile_model`, but for what depends on the model.
    """
    given = _arguments(options)
    scope = given.get("scope", "blocks")
    if scope not in _SCOPES:
        raise UsageError(f'compile.scope is {scope!r}, but must be "blocks" or "parts".')
    if given.get("mode") == "reduce-overhead" and device != "cuda":
        raise UsageError(
            f"compile.mode='reduce-overhead' records CUDA graphs, but this run is on {device}: remove compile.mode."
        )
    graphs = recording_of(given, device)
    if graphs and given.get("dynamic"):
        raise UsageError(
            f"{graphs.subject} records CUDA graphs of fixed shapes, but compile.dynamic=True is for shapes that vary: "
            f"remove compile.dynamic, or {graphs.remedy}."
        )
    if sharded and (scope != "blocks" or graphs):
        raise UsageError(
            "fsdp=True gathers the weights of each block when it runs, so that only blocks are compiled, and no CUDA "
            f"graphs are recorded: {graphs.remedy if graphs else 'remove compile.scope'}, or set fsdp=False."
        )


class Recording(NamedTuple):
    """The option of a config that records CUDA graphs.

    Attributes:
        subject: the option and its value, as the beginning of a sentence.
        remedy: what to do so that none are recorded.
    """

    subject: str
    remedy: str


def recording_of(options: Any, device: str) -> Recording | None:
    """Return which option of `compile` records CUDA graphs on a device; None if no graphs are recorded.

    Args:
        options: the value in a config.
        device: where it will run; there are no such graphs on others than "cuda".
    """
    given = _arguments(options)
    mode = given.get("mode")
    if device != "cuda":
        return None
    if mode in _MODES:
        return Recording(f"compile.mode={mode!r}", _MODES[mode])
    if (given.get("options") or {}).get("triton.cudagraphs"):
        return Recording("compile.options with triton.cudagraphs", "remove triton.cudagraphs")
    if given.get("backend") == "cudagraphs":
        return Recording("compile.backend='cudagraphs'", "remove compile.backend")
    return None


def compile_blocks(model: nn.Module, options: Mapping[str, Any] | bool) -> int:
    """Compile every block in place, which keeps the names of the weights; return their number.

    Equal blocks share one compilation, and masking stays outside. A block runs compiled in training, a frozen one
    always; evaluation runs uncompiled, because each different number of images or tokens would need another
    compilation.

    Args:
        model: any model.
        options: True, or the arguments of `torch.compile`.

    Raises:
        UsageError: `options` has a wrong type.
    """
    blocks = {f"block {number}": block for number, block in enumerate(blocks_of(model))}
    _compile(blocks, _arguments(options))
    return len(blocks)


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of `model` that are called `encoder` or `decoder`, by name; not those inside of another."""
    parts: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in parts)
        if name.split(".")[-1] in ("encoder", "decoder") and not inside and module is not model:
            parts[name] = module
    return parts


def _arguments(options: Any) -> dict[str, Any]:
    if not isinstance(options, bool | Mapping):
        raise UsageError(f"compile is {options!r}, but must be True, False or the arguments of torch.compile.")
    return {} if isinstance(options, bool) else dict(options)


def _compile(modules: Mapping[str, nn.Module], options: Mapping[str, Any], graphs: Recording | None = None) -> None:
    _allow_variants(_VARIANTS * len(modules))
    for name, module in modules.items():
        # Shapes do not change during a run, so static ones are compiled once.
        module.compile(**{"dynamic": False, **options})
        module._compiled_call_impl = _compiled_in_training(module, name, graphs)


def _compiled_in_training(module: nn.Module, name: str, graphs: Recording | None) -> Callable[..., Any]:
    """Return what calls a module of this name; CUDA graphs, if some are recorded, need fixed shapes."""
    # Replaces the attribute that `Module.compile` sets, which copies of the module do not have.
    compiled, plain = module._compiled_call_impl, module._call_impl
    assert compiled is not None, "`Module.compile` was called before"
    frozen = not any(parameter.requires_grad for parameter in module.parameters())
    shapes: set[Any] = set()

    def call(*args: Any, **options: Any) -> Any:
        if not (frozen or module.training):
            return plain(*args, **options)
        if graphs is not None:
            _check_shapes(name, graphs, shapes, (args, options))
        return compiled(*args, **options)

    return call


def _check_shapes(name: str, graphs: Recording, shapes: set[Any], values: Any) -> None:
    shapes.add(tuple(tuple(x.shape) for x in _tensors_in(values)))
    if len(shapes) > _VARIANTS:
        raise UsageError(
            f"{graphs.subject} records a CUDA graph for each shape, but {name} got more than {_VARIANTS} different "
            f"ones: {graphs.remedy}, or let every batch have the same number of images, tokens and visible patches."
        )


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in fields(value)]
    several = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [x for each in several for x in _tensors_in(each)]


def _allow_variants(number: int) -> None:
    """Raise torch's limit of compiled variants per function, 8, beyond which modules run uncompiled.

    All blocks count together. Equal ones share a variant, but blocks of other libraries may have own constants.
    """
    from torch._dynamo import config as limits  # takes seconds to import, and only runs that compile need it

    limits.recompile_limit = max(limits.recompile_limit, number)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, number)
