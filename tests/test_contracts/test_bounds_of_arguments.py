"""The bounds of arguments stand in the annotations of the classes, and hold for the classes that state them alone."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pytest

from maetool import registry
from maetool.annotations import Bounds, Count, FromZero, Positive, Size, describe, fits, hints_of, is_within, range_of
from maetool.config.checks import check_config
from maetool.config.load import load_config
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.maskers import RandomMasker
from maetool.registry import ENCODERS, MASKERS

# What maetool 0.1.0 looked up by the names of arguments, and by the kind of part.
FROM_ONE = {"embed_dim", "num_heads", "in_chans", "img_size", "patch_size", "k", "window_size", "num_samples"}
FROM_ONE |= {"accumulative_counts"}
FROM_NOUGHT, ABOVE_NOUGHT = {"max_epochs", "max_iters"}, {"temperature", "mlp_ratio"}


def bounded():
    """Yield every argument of a registered class of maetool that is a size, with the range that its class states."""
    for parts in [each for each in vars(registry).values() if isinstance(each, registry.Registry)]:
        own = [(name, cls) for name, cls in parts.parts().items() if cls.__module__.startswith("maetool.")]
        for name, cls in own:
            for argument, hint in hints_of(cls).items():
                yield f"{name}.{argument}", argument, parts, range_of(hint)


def test_every_size_has_its_range_in_its_annotation():
    seen, wrong = 0, []
    for place, argument, parts, stated in bounded():
        expected = {**dict.fromkeys(FROM_ONE, "from 1"), **dict.fromkeys(FROM_NOUGHT, "from 0")}
        without = parts is not ENCODERS and place != "ProjectionDecoder.depth"  # of maps, of which it needs one
        expected |= {"depth": "from 0" if without else "from 1", "depths": "from 1"}
        expected |= dict.fromkeys(ABOVE_NOUGHT, "above 0")
        if argument in expected:
            seen += 1
            wrong += [place] * (stated != expected[argument])
    assert not wrong and seen > 80


class Ge(NamedTuple):
    """A bound as `annotated_types` and pydantic state it."""

    ge: int


CASES = [
    (Count, 1, True),
    (Count, 0, False),
    (Count | None, None, True),
    (Size, [32, 0], False),
    (Size, (32, 16), True),
    (Size, 0, False),
    (FromZero, 0, True),
    (FromZero, -1, False),
    (Positive, 1e-9, True),
    (Positive, 0, False),
    (Positive, math.inf, False),
    (Positive, math.nan, False),
    (Annotated[float, Bounds(ge=0, lt=1)], 1, False),
    (Annotated[float, Bounds(ge=0, le=1)], 1, True),
    (Annotated[int, Ge(3)], 2, False),
    (Annotated[int, Ge(3), "a note"], 3, True),
    (Annotated[Sequence[float], "a note"], [0.0], True),
    (Annotated[int, Bounds(ge=5)] | Annotated[float, Bounds(le=1)], 0.5, True),
    (Annotated[int, Bounds(ge=5)] | Literal["auto"], "auto", True),
    (tuple[Annotated[int, Bounds(ge=5)], Annotated[int, Bounds(le=1)]], (5, 1), True),
    (tuple[Annotated[int, Bounds(ge=5)], Annotated[int, Bounds(le=1)]], (5, 2), False),
    (Count, "many", True),  # of another kind, which is told by its kind
    (int, -3, True),
    (Positive, np.float64(0), False),
    (Count, True, True),
]


@pytest.mark.parametrize(("hint", "value", "within"), CASES)
def test_values_and_bounds(hint, value, within):
    assert is_within(value, hint) is within


def test_how_bounds_are_described():
    assert range_of(Annotated[float, Bounds(ge=0, lt=1)]) == "from 0 below 1"
    assert range_of(Size | None) == "from 1" and range_of(int | None) is None and range_of(Positive) == "above 0"
    assert fits(1, Literal[1]) and not fits(True, Literal[1]) and not fits(1, Literal[True])
    assert describe(Size) == describe(int | Sequence[int]) and fits(0, Count) and not fits(2.5, Count)


class RangedMasker(RandomMasker):
    """States ranges of its own."""

    def __init__(self, mask_ratio=0.75, share: Annotated[float, Ge(0)] = 0.5, sides: Size = 3, depth: int = 0, k="all"):
        super().__init__(mask_ratio)


class SameEncoder(VisionTransformer):
    """Inherits its arguments, and with them their ranges."""


class OtherEncoder(VisionTransformer):
    """Has `depth` and `num_heads` for something else."""

    def __init__(self, depth=0, num_heads: float = -1.5):
        super().__init__(32, 4, 3, 16, 1, 2)


@pytest.fixture
def ranged():
    MASKERS.register_module(module=RangedMasker)
    ENCODERS.register_module(module=SameEncoder)
    ENCODERS.register_module(module=OtherEncoder)
    yield
    MASKERS.module_dict.pop("RangedMasker")
    ENCODERS.module_dict.pop("SameEncoder")
    ENCODERS.module_dict.pop("OtherEncoder")


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            "masker={'_delete_': True, 'type': 'RangedMasker', 'share': -1}",
            "model.masker.share is -1, .* a number from 0",
        ),
        (
            "masker={'_delete_': True, 'type': 'RangedMasker', 'sides': [1, 0]}",
            "sides is .1, 0., but must be .* from 1",
        ),
        (
            "encoder={'_delete_': True, 'type': 'SameEncoder', 'depth': 0}",
            "model.encoder.depth is 0, .* a number from 1",
        ),
        ("masker={'_delete_': True, 'type': 'RangedMasker', 'depth': 0, 'k': 0, 'share': 3}", None),
        ("encoder={'_delete_': True, 'type': 'OtherEncoder', 'depth': -7, 'num_heads': -2.0}", None),
    ],
)
def test_ranges_are_those_that_a_class_states(repository, ranged, option, sentence):
    cfg = load_config(repository / "configs/mae/vit-t_shapes.py", [f"model.{option}"])
    if sentence is None:
        check_config(cfg)
        return
    with pytest.raises(UsageError, match=sentence):
        check_config(cfg)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"type": "SameEncoder", "depth": 0}, "SameEncoder.depth is 0, but must be a number from 1"),
        ({"type": "VisionTransformer", "patch_size": [8, 0]}, "VisionTransformer.patch_size is .8, 0., .* from 1"),
        ({"type": "VisionTransformer", "depth": "two"}, "VisionTransformer.depth is 'two', but must be an integer"),
        (
            {"type": "VisionTransformer", "pos_embed": "sine"},
            "pos_embed is 'sine', but must be one of 'sincos', 'sincos_rows'",
        ),
        ({"type": "VisionTransformer", "final_norm": 1}, "final_norm is 1, but must be True or False"),
    ],
)
def test_what_a_registry_builds_is_checked_too(ranged, part, sentence):
    """In a notebook nobody checks a config; of a class that is called directly, the constructor checks what it can."""
    with pytest.raises(UsageError, match=sentence):
        ENCODERS.build(part)


def test_numbers_and_words_of_numpy_are_numbers_and_words():
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
    encoder = ENCODERS.build(
        {"type": "VisionTransformer", **sizes, "mlp_ratio": np.float64(2), "pos_embed": np.str_("learned")}
    )
    assert encoder.grid == (4, 4) and encoder.pos_embed.requires_grad
    with pytest.raises(UsageError, match=r"mlp_ratio is .*0.*, but must be a number above 0"):
        ENCODERS.build({"type": "VisionTransformer", **sizes, "mlp_ratio": np.float64(0)})
