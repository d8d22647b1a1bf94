"""A registry finds its parts in a process that has imported nothing else."""

import importlib
import re

import pytest
from warm import run_warm

from maetool import registry


@pytest.fixture
def fresh(tmp_path):
    """Runs a program in a process that has imported nothing of maetool, and returns what it prints."""
    return lambda code: run_warm(["-c", code], tmp_path, bare=True)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("MODELS", "ImagePreprocessor"),
        ("HOOKS", "SafeCheckpointHook"),
        ("TRANSFORMS", "RandomResizedCrop"),
        ("MASKERS", "RandomMasker"),
    ],
)
def test_parts_are_found(fresh, name, part):
    code = f"from maetool import registry; print(registry.find_part({part!r}, registry.{name}).__name__)"
    result = fresh(code)
    assert result.stdout.strip() == part, result.stderr[-500:]


PACKAGES = {place: parts for parts in registry._ALL for place in parts._locations if "." in place}


@pytest.mark.parametrize("place", PACKAGES)
def test_every_part_can_be_found_alone(place):
    """A part that its package does not list would be found only once everything is imported."""
    listed = set(getattr(importlib.import_module(place), "__all__", ()))
    for parts in registry._ALL:
        for name, part in parts.parts().items() if place in parts._locations else ():
            in_package = part.__module__.startswith(f"{place}.")
            assert not in_package or name in listed, f"{place} does not list {name}"


def test_every_part_lies_where_its_registry_looks(repository):
    """One elsewhere is found by a process that has imported it for another reason, and by no other."""
    outside = []
    for path in sorted((repository / "maetool").rglob("*.py")):
        module = ".".join(path.relative_to(repository).with_suffix("").parts)
        for name in re.findall(r"^@(\w+)\.register_module", path.read_text(), re.MULTILINE):
            places = getattr(registry, name)._locations
            outside += [(module, name)] if not any(f"{module}.".startswith(f"{place}.") for place in places) else []
    assert outside == []


def test_only_what_is_asked_for_is_imported(fresh):
    code = """if True:
        import sys
        from maetool import registry
        registry.find_part("VisionTransformer", registry.ENCODERS)
        registry.find_part("AdamW", registry.OPTIMIZERS)
        registry.classes_named("ImagePreprocessor")
        heavy = {"timm", "torchvision", "matplotlib", "sklearn", "mmcv", "maetool.encoders.swin"}
        print(sorted(heavy & set(sys.modules)))
    """
    result = fresh(code)
    assert result.stdout.strip() == "[]"


def test_a_name_of_ours_cannot_be_taken_before_it_is_imported(fresh):
    code = """if True:
        from maetool.registry import ENCODERS
        @ENCODERS.register_module()
        class SwinTransformer:
            pass
    """
    result = fresh(code)
    assert (
        "The encoder name `SwinTransformer` is taken twice, by maetool.encoders.swin and by __main__" in result.stderr
    )
