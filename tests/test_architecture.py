"""Imports go one way, and files stay small (docs/architecture.md)."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "maetool"
INNER = {"data", "engine", "weights"}  # rooms with rooms of their own
BASICS = {"_lazy", "annotations", "errors", "messages", "ops", "positions", "reading", "weights", "writing", "registry"}
PARTS = {"maskers", "stems", "encoders", "decoders", "targets", "heads", "teachers", "corruptions"}
DATA = {"annotations", "errors", "messages", "ops", "compat", "reading", "writing", "registry", "_lazy"}
DENSE = {*DATA, "data.keys", "data.objects", "data.collate", "data.codecs", "data.sources", "data.transforms"}
LOADING = {"data.workers", "data.samplers", "data.keys", "data.objects", "data.collate", "data.codecs", "data.datasets"}
ABOVE = {*BASICS, "annotations", "protocols", "compat", "metadata", "plugins", "_deprecated", "_lazy"}
# A room to those that it may import from; what a room has no use for is not in its list.
FLOORS = {
    "errors": {"_deprecated"},
    "compat": {"_lazy"},
    "plugins": set(),
    "arguments": set(),
    "messages": set(),
    "division": {"errors"},
    "_deprecated": set(),
    "_lazy": set(),
    "protocols": set(),
    "annotations": {"errors"},
    "cli": {"errors", "messages"},
    "reading": {"errors"},
    "writing": {"_deprecated", "errors"},
    "ops": {"_deprecated", "errors"},
    "parts": {"annotations", "errors", "messages", "plugins"},
    "registry": {"errors", "annotations", "parts"},
    "positions": {"errors", "ops"},
    "structures": {"errors", "ops"},
    "layers": {"errors", "ops", "positions", "_deprecated"},
    "weights.formats": {"errors", "ops", "positions"},
    "weights": {"_deprecated", "errors", "reading", "writing", "weights.formats"},
    "parallel": {"errors", "positions", "weights", "_deprecated"},
    "metadata": {"errors", "ops", "reading", "registry"},
    **{part: {*BASICS, "layers", "structures", "metadata"} for part in PARTS},
    "targets": {*BASICS, "layers", "structures", "metadata", "teachers"},
    "teachers": {*BASICS, "layers", "structures", "metadata", "weights.formats"},
    "backbones": {*BASICS, "layers", "metadata", "weights.formats"},
    "models": {*BASICS, *PARTS, "backbones", "structures", "layers"},
    "testing": {
        *{"_deprecated", "data.codecs", "data.collate", "data.samplers", "data.sources", "errors", "evaluation"},
        *{"models", "ops", "registry", "structures"},
    },
    "data": {"_lazy"},
    "data.keys": set(),
    "data.objects": {"_deprecated", "errors"},
    "data.collate": {"errors"},
    "data.workers": {"compat"},
    "data.balanced_sampler": {"annotations", "data.keys", "data.samplers", "errors", "ops", "registry"},
    "data.samplers": {"errors", "ops", "registry", "data.keys"},
    "data.codecs": DATA,
    "data.sources": {*DATA, "_deprecated", "data.codecs"},
    "data.transforms": {*DATA, "_deprecated", "data.codecs", "data.keys", "data.objects"},
    "data.datasets": DENSE,
    "data.drawn": {*DENSE, "data.datasets"},
    "data.prepare": {*DATA, "data.codecs", "data.sources", "division"},
    "visualization": {"_lazy", "data.keys", "errors", "ops", "protocols", "reading", "writing"},
    "engine.optim": {"annotations", "errors", "messages", "compat", "ops", "parallel", "registry", "structures"},
    "config": {*ABOVE, "engine.optim", "data.codecs", "data.datasets", "data.sources", "parallel"},
    "evaluation": {*ABOVE, *LOADING, "heads", "config", "parallel", "structures", "visualization"},
    "pretrained": {
        *{*ABOVE, *LOADING, "data", "data.sources", "data.transforms", "weights.formats", "division"},
        *{"models", "config", "parallel", "evaluation", "visualization"},
    },
    "engine.hooks": {
        *{*ABOVE, *LOADING, "maskers", "models", "parallel"},
        *{"engine.optim", "evaluation", "structures", "visualization"},
    },
    "engine": {
        *{
            *ABOVE,
            *LOADING,
            "cli",
            "config",
            "engine.hooks",
            "engine.optim",
            "models",
            "parallel",
            "plans",
            "structures",
        },
        *{"evaluation", "pretrained", "visualization"},
    },
    "engine.sweep": {
        *{"_deprecated", "cli", "compat", "config", "engine", "errors", "evaluation", "reading", "registry"},
        *{"pretrained", "visualization", "weights", "writing"},
    },
    "inspection": {
        *{"compat", "config", "data.codecs", "data.datasets", "data.objects", "data.sources", "errors", "messages"},
        *{"registry", "visualization", "writing", "reading"},
    },
    "reports": {
        *{"_lazy", "config", "data", "data.datasets", "data.keys", "errors", "evaluation", "messages", "metadata"},
        *{"pretrained", "protocols", "registry", "visualization", "weights", "writing", "reading"},
    },
    "auto": {
        *{"cli", "config", "data.codecs", "data.datasets", "data.keys", "engine", "errors", "evaluation", "inspection"},
        *{"messages", "metadata", "pretrained", "registry", "reports", "visualization", "weights", "writing"},
    },
    "installation": {"_deprecated", "_lazy", "compat", "data.codecs", "plugins", "testing", "writing"},
}
TOP = {"__init__", "__main__", "commands"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(parts):
    """Return the room of a file, or of a module, whose path below the package has these parts."""
    first, *rest = [part.removesuffix(".py") for part in parts]
    if first not in INNER or not rest or rest[0] == "__init__":
        return first
    is_room = len(rest) > 1 or (PACKAGE / first / rest[0]).is_dir()
    return f"{first}.{rest[0]}" if is_room or first == "data" else first


def nodes_of(path):
    return ast.walk(ast.parse(path.read_text()))


def imports_of(path):
    """Names of the rooms of maetool that a file imports from, relative imports resolved."""
    package = ("maetool", *path.relative_to(PACKAGE).parts[:-1])
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from [room_of(alias.name.split(".")[1:]) for alias in node.names if "maetool." in alias.name]
        if not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else ()
        module = (*base, *(node.module or "").split(".")) if node.module else base
        if module[0] == "maetool":
            for alias in node.names:
                below = (*module[1:], alias.name)
                is_module = PACKAGE.joinpath(*below).is_dir() or PACKAGE.joinpath(*below).with_suffix(".py").is_file()
                if is_module or module[1:]:
                    yield room_of(below if is_module else module[1:])


def test_imports_go_one_way():
    wrong = {}
    for path in FILES:
        room = room_of(path.relative_to(PACKAGE).parts)
        above = set() if room in TOP else set(imports_of(path)) - {room, *FLOORS[room]}
        wrong |= {str(path): above} if above else {}
    assert wrong == {}


def test_every_room_is_known():
    assert {room_of(path.relative_to(PACKAGE).parts) for path in FILES} == {*FLOORS, *TOP}


def test_no_room_stands_on_itself():
    TopologicalSorter(FLOORS).prepare()


def test_timm_is_touched_by_few():
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if any(
            (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("timm"))
            or (isinstance(node, ast.Import) and any(alias.name.startswith("timm") for alias in node.names))
            for node in nodes_of(path)
        )
    }
    allowed = {"encoders/swin.py", "encoders/from_timm.py", "data/transforms/augment.py", "data/transforms/batched.py"}
    allowed |= {"decoders/class_bottleneck.py"}  # whose blocks are BEiT's
    allowed |= {"layers/swin.py"}  # the block of Swin for visible tokens
    allowed |= {"ops/pos_embed.py"}  # relative positions of other windows
    allowed |= {"pretrained/folder.py"}  # a folder for timm is compared with what timm computes
    # what a name of timm stands for: where its weights are, and which model it is
    allowed |= {"weights/addresses.py", "config/of_timm.py"}
    assert users == allowed


def test_files_and_functions_are_small():
    long = [str(path) for path in FILES if path.read_text().count("\n") > 300]
    for path in FILES:
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                long += [f"{path}: {node.name}"] if node.end_lineno - first.lineno >= 40 else []
    assert long == []


def test_the_model_is_short_enough_to_be_read():
    assert (PACKAGE / "models/mim.py").read_text().count("\n") < 150


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
