"""Wider and fewer heads, which fast attention kernels take, are an option of decoders: weights keep their shapes."""

import inspect

import pytest
import torch
from test_builtin_parts import build, parts
from test_waits import GRID, plan_of

from maetool.registry import DECODERS
from maetool.structures import Layout
from maetool.testing.decoding import _latent, _memory

WITH_HEADS = [each for each in parts(DECODERS) if "num_heads" in inspect.signature(DECODERS.get(each.id)).parameters]


@pytest.mark.parametrize("name", WITH_HEADS)
def test_heads_of_another_width(name):
    narrow, wide = (build(DECODERS, name, embed_dim=32, num_heads=heads).eval() for heads in (4, 2))
    assert {key: value.shape for key, value in narrow.state_dict().items()} == {
        key: value.shape for key, value in wide.state_dict().items()
    }
    wide.load_state_dict(narrow.state_dict())
    plan = plan_of(GRID)
    asked, memory = plan.predicting(getattr(narrow, "predicts", "planned")), _memory(narrow, Layout.of(GRID), 24, 1)
    latent, _ = _latent(narrow, plan, 24, 1)
    one, other = (decoder(latent, asked, **memory) for decoder in (narrow, wide))
    assert one.shape == other.shape and other.isfinite().all()
    assert not torch.allclose(one, other), "the number of heads is used"
