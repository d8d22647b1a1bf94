"""Nothing in a step waits for the device: no value is read back, and no small tensor is copied there."""

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from maetool.decoders import CrossViewDecoder, PredictorDecoder, TransformerDecoder
from maetool.encoders import StreamTransformer, VisionTransformer
from maetool.ops import cpu
from maetool.structures import Layout, MaskPlan

# Reading a value back, results whose size depends on values, and tensors made of Python's numbers, which are copied.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "equal", "unique_dim", "_unique2"}
SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2}
CLIP = {"img_size": (4, 16, 16), "patch_size": (2, 8, 8), **SMALL}
STEMS = {
    "rgb": {"type": "PatchStem", "img_size": 16, "patch_size": 8},
    "bands": {"type": "GroupStem", "groups": {"a": [0, 2], "b": [1]}, "img_size": 16, "patch_size": 8},
    "words": {"type": "TokenStem", "codebook": 9, "grid": (4,), "padding": 0},
}


class Watch(TorchDispatchMode):
    """Notes the operators that wait."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.partition(".")[0]
        self.seen += [name] if name in WAITING else []
        return func(*args, **(kwargs or {}))


def waited_for(step):
    step()  # whatever is made once
    with Watch() as watch:
        step()
    return watch.seen


def clips(pos_embed, **options):
    encoder = VisionTransformer(**CLIP, pos_embed=pos_embed, **options)
    return encoder, torch.randn(2, 3, 4, 16, 16), (2, 2, 2)


@pytest.mark.parametrize("pos_embed", ["sincos", "separable", "rotary"])
@pytest.mark.parametrize(("sees", "counts"), [("visible", {}), ("blank", {"num_blank": 2}), ("visible", "ragged")])
@pytest.mark.parametrize("kind", [TransformerDecoder, PredictorDecoder, CrossViewDecoder])
def test_a_step_on_clips(kind, pos_embed, sees, counts):
    encoder, images, grid = clips(pos_embed, sees=sees)
    decoder = kind(24, 10, grid, 1, 16, 1, 2, pos_embed=pos_embed)
    keep = torch.tensor([2, 4]) if counts == "ragged" else 3
    plan = MaskPlan.from_scores(torch.rand(2, 8), keep, grid, **({} if counts == "ragged" else counts))

    def step():
        memory = {"memory": encoder(images)} if kind is CrossViewDecoder else {}
        decoder(encoder(images, plan), plan, **memory).square().mean().backward()

    assert waited_for(step) == []


@pytest.mark.parametrize("kind", [TransformerDecoder, PredictorDecoder])
def test_a_step_on_streams(kind):
    encoder = StreamTransformer(STEMS, **SMALL, stream_code="learned")
    batch = {
        "rgb": torch.randn(2, 3, 16, 16),
        "bands": torch.randn(2, 3, 16, 16),
        "words": torch.tensor([[1, 2, 3, 0]] * 2),
    }
    layout = Layout.of(encoder.grids)
    plan = MaskPlan.from_scores(torch.rand(2, layout.length), 5, encoder.layout_of(batch))
    decoder = kind(24, 6, grids=encoder.grids, out_dims={"rgb": 6, "a": 4, "b": 2, "words": 1}, **{**SMALL, "depth": 1})
    assert waited_for(lambda: decoder(encoder(batch, plan), plan).square().mean().backward()) == []


def test_waiting_is_noticed():
    assert waited_for(lambda: torch.unravel_index(torch.arange(6), (2, 3))) != []
    assert waited_for(lambda: torch.ones(3).sum().item()) == ["_local_scalar_dense"]


@pytest.mark.parametrize("ragged", [False, True])
def test_only_padding_needs_a_mask_of_the_keys(monkeypatch, ragged):
    """Kernels of accelerators are slower with one, so that there is none where all samples keep as many patches."""
    encoder, images, grid = clips("sincos")
    decoder, attend, masks = TransformerDecoder(24, 10, grid, 1, 16, 1, 2), functional.scaled_dot_product_attention, []

    def note(*args, attn_mask=None, **options):
        masks.append(attn_mask)
        return attend(*args, attn_mask=attn_mask, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", note)
    monkeypatch.setattr(cpu, "takes", lambda *tensors: False)  # as on an accelerator
    plan = MaskPlan.from_scores(torch.rand(2, 8), torch.tensor([2, 4]) if ragged else 3, grid)
    decoder(encoder(images, plan), plan)
    assert len(masks) == 3 and all((mask is None) != ragged for mask in masks[:2])  # two of the encoder
