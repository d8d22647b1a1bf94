"""A registry finds its parts in a process that has imported nothing else."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("MODELS", "ImagePreprocessor"),
        ("HOOKS", "SafeCheckpointHook"),
        ("TRANSFORMS", "RandomResizedCrop"),
        ("MASKERS", "RandomMasker"),
    ],
)
def test_parts_are_found(name, part):
    code = f"from maetool import registry; print(registry.find_part({part!r}, registry.{name}).__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == part, result.stderr[-500:]
