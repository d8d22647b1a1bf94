"""List the registered parts, with their arguments and origins."""

import argparse
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from typing import Any

from maetool.errors import UsageError

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "kind", nargs="?", help="only parts of this kind, such as masker, encoder, target or hook (default: all)"
    )
    return parser.parse_args()


def main() -> None:
    """List."""
    args = parse_args()
    from maetool.plugins import describe_plugins

    print(f"{to_text(components(args.kind))}\n\n{describe_plugins()}")


@dataclass(frozen=True)
class Component:
    """A registered part.

    Attributes:
        kind: name of its registry, such as "masker".
        name: its name in configs.
        arguments: its signature, such as "(mask_ratio=0.75)".
        about: first line of its docstring.
        origin: its distribution, version and module.
    """

    kind: str
    name: str
    arguments: str
    about: str
    origin: str


def components(kind: str | None = None) -> list[Component]:
    """Return the registered parts of maetool and its plugins, of one kind or of all.

    Raises:
        UsageError: an unknown kind.
    """
    from maetool import registry  # here, because it imports torch, and --help answers at once
    from maetool.plugins import load_plugins

    load_plugins()
    registries = {each.name: each for each in vars(registry).values() if isinstance(each, registry.Registry)}
    if kind is not None and kind not in registries:
        raise UsageError(f"There is no kind of part called {kind!r}: choose one of {', '.join(registries)}.")
    chosen = registries.values() if kind is None else [registries[kind]]
    return [component for each in chosen for component in _in(each)]


def _in(parts: Any) -> Iterator[Component]:
    for name, part in sorted(parts.parts().items()):
        about = (inspect.getdoc(part) or "no description").splitlines()[0]
        yield Component(parts.name, name, _arguments(part), about, _origin(part.__module__))


def _arguments(part: type) -> str:
    """Return the signature without annotations, so that it fits on a line."""
    shown = [p.replace(annotation=p.empty) for p in inspect.signature(part).parameters.values()]
    return str(inspect.Signature(shown))


def _origin(module: str) -> str:
    package = module.split(".")[0]
    if package == "maetool":
        return module
    distribution = next(iter(packages_distributions().get(package, ())), None)
    return module if distribution is None else f"{distribution} {version(distribution)}, {module}"


def to_text(parts: list[Component]) -> str:
    """Return components as lines for a terminal, grouped by kind.

    Args:
        parts: the components.
    """
    lines: list[str] = []
    for kind in dict.fromkeys(component.kind for component in parts):
        lines += ["", kind]
        for component in parts:
            if component.kind == kind:
                lines += [f"  {component.name}{component.arguments}", f"      {component.about}  [{component.origin}]"]
    return "\n".join(lines[1:])
