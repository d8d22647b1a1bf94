"""Imports go one way, and files stay small (docs/architecture.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "maetool"
PARTS = ["maskers", "encoders", "decoders", "targets", "heads"]
BASICS = ["errors", "ops", "positions", "reading", "weights", "writing"]
EARLIER = {
    "errors": [],
    "addresses": ["errors"],
    "annotations": ["errors"],
    "checksums": [],
    "ops": ["errors"],
    "positions": ["errors", "ops"],
    "reading": ["errors"],
    "writing": ["errors"],
    "convert": ["errors", "ops", "positions"],
    "weights": ["errors", "addresses", "checksums", "convert", "reading"],
    "layers": BASICS,
    "structures": BASICS,
    "plugins": [],
    "installation": [],
    "_deprecated": [],
    "registry": ["errors", "plugins", "annotations"],
    "config_stored": ["errors", "reading", "registry"],
    "recorded": ["errors", "ops", "config_stored"],
    "backbones": [*BASICS, "recorded", "registry", "structures", "layers"],
    "models": [*BASICS, *PARTS, "backbones", "registry", "structures", "layers"],
}
EARLIER |= {part: [*BASICS, "layers", "structures", "registry"] for part in PARTS}
EARLIER["targets"] += ["recorded"]
LAST = ["commands", "__main__", "data", "engine", "evaluation", "benchmarks", "visualization", "testing"]
LAST += ["cli", "compat", "arguments"]
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """Names of the rooms of maetool that a file imports, relative imports resolved."""
    package = ("maetool", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            if module[:1] == ("maetool",):
                yield from [module[1]] if len(module) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("maetool.")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = room_of(path)
    if room in EARLIER:
        allowed = {room, *EARLIER[room]}
        assert set(imports_of(path)) - {"__version__"} <= allowed


def test_every_room_is_known():
    assert {room_of(path) for path in FILES} <= {*EARLIER, *LAST, "__init__"}


def test_timm_is_touched_by_few():
    """`benchmarks/peers.py` measures it as another library, and is no part of a model."""
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if room_of(path) != "benchmarks"  # which measures timm as a peer
        and any(
            (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("timm"))
            or (isinstance(node, ast.Import) and any(alias.name.startswith("timm") for alias in node.names))
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    allowed = {"encoders/swin.py", "encoders/from_timm.py", "data/augment.py"}
    allowed |= {"decoders/class_bottleneck.py"}  # whose blocks are BEiT's
    allowed |= {"ops/pos_embed.py"}  # relative positions of other windows
    assert users - {"benchmarks/peers.py"} == allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_small(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 40, node.name


def test_importing_the_package_is_light():
    code = "import sys, maetool; print([m for m in ('torch', 'mmengine', 'timm', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_registered_class_takes_kwargs():
    import inspect

    from maetool import registry

    for parts in vars(registry).values():
        if isinstance(parts, registry.Registry):
            parts.import_from_location()
            own = {name: cls for name, cls in parts.module_dict.items() if cls.__module__.startswith("maetool.")}
            for name, cls in own.items():  # and not those that other tests register
                kinds = [p.kind for p in inspect.signature(cls).parameters.values()]
                assert inspect.Parameter.VAR_KEYWORD not in kinds, name
