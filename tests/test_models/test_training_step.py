"""The step computes only what is needed, keeps little, and is compiled once."""

import pytest
import torch
from torch._dynamo.utils import counters

from maetool.compat import keep_freed_memory
from maetool.decoders import TransformerDecoder
from maetool.layers import Block
from maetool.ops import pos_embed
from maetool.ops.patches import take_tokens
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_model

GRID = (3, 5)


def decode_everything(decoder, latent, plan):
    """The decoder as it is written in the paper: all of every block, then the predicted patches."""
    prefix, visible = latent[:, : decoder.num_prefix_tokens], latent[:, decoder.num_prefix_tokens :]
    tokens = decoder.mask_token.expand(len(latent), plan.mask.shape[1], -1)
    places = plan.ids_keep[..., None].expand(-1, -1, tokens.shape[2])
    tokens = tokens.scatter(1, places, decoder.embed(visible))
    x = torch.cat([decoder.embed(prefix), tokens], dim=1) + decoder.pos_embed
    for block in decoder.blocks:
        x = block(x)
    return decoder.pred(decoder.norm(take_tokens(x[:, decoder.num_prefix_tokens :], plan.ids_predict)))


def plan_of(kind):
    scores = torch.rand(4, 15, generator=torch.Generator().manual_seed(2))
    plan = MaskPlan.from_scores(scores, 4, GRID, num_predict=3 if kind == "few" else None)
    if kind != "visible":
        return plan
    ids = plan.ids_keep[:, :2].sort(dim=1).values  # what is predicted has nothing to do with what is hidden
    return MaskPlan(GRID, plan.ids_keep, ids, plan.ids_restore, plan.mask).validate()


@pytest.mark.parametrize("kind", ["all", "few", "visible"])
@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_last_block_is_that_of_the_whole_computation(kind, prefix, depth):
    torch.manual_seed(0)
    decoder = TransformerDecoder(16, 6, GRID, prefix, embed_dim=24, depth=depth, num_heads=3)
    plan, latent = plan_of(kind), torch.randn(4, prefix + 4, 16, requires_grad=True)
    inputs = [latent, *decoder.parameters()]
    ours, theirs = decoder(latent, plan), decode_everything(decoder, latent, plan)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    upstream = torch.randn(theirs.shape) / theirs.numel()
    gradients = [torch.autograd.grad(y, inputs, upstream, allow_unused=True) for y in (ours, theirs)]
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-6, rtol=1e-6)


def test_the_last_block_computes_only_the_predicted_patches():
    decoder = TransformerDecoder(16, 6, GRID, embed_dim=24, depth=2, num_heads=3)
    seen = []
    for block in decoder.blocks:
        block.mlp.fc1.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[1]))
    decoder(torch.randn(4, 5, 16), plan_of("few"))
    assert seen == [16, 3]


def steps(model, images, plans):
    for plan in plans:
        model(images, plan=plan)["loss"].backward()


def compiled_graphs(model, images, plans, backend):
    torch._dynamo.reset()
    counters.clear()
    for block in model.modules():
        if isinstance(block, Block):
            block.compile(backend=backend, dynamic=False)
    steps(model, images, plans[:1])
    first = counters["stats"]["unique_graphs"]
    steps(model, images, plans[1:])
    return first, counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


@pytest.mark.parametrize(("autocast", "backend"), [(False, "eager"), (True, "aot_eager")])
def test_compiled_once_and_never_again(autocast, backend):
    model = tiny_model(decoder={"depth": 2})
    images = model.data_preprocessor(tiny_batch())["images"]
    plans = [model.make_plan(images) for _ in range(4)]
    expected = model(images, plan=plans[0])["loss"]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        first, after, breaks = compiled_graphs(model, images, plans, backend)
    assert first == after == 3  # the encoder's block, the decoder's, and its last one
    assert breaks == 0
    torch.testing.assert_close(model(images, plan=plans[0])["loss"], expected)


def kept_bytes(function):
    """Bytes of activations that a forward pass keeps for the backward pass; parameters do not count."""
    kept = {}

    def pack(tensor):
        if not isinstance(tensor, torch.nn.Parameter) and not isinstance(tensor._base, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


# Only the probabilities over few keys are kept, no more than twice as many as a head is wide.
@pytest.mark.parametrize(("tokens", "probabilities"), [(40, 0), (10, 2 * 4 * 10 * 10)])
def test_a_block_keeps_ten_widths_a_token_and_no_copy_of_its_weights(tokens, probabilities):
    block, x = Block(64, 4), torch.randn(2, tokens, 64, requires_grad=True)
    # Input, queries, keys, values, attended, sum, hidden layer of 4: 10 widths of 4 bytes; 4 statistics.
    assert kept_bytes(lambda: block(x)) <= 2 * tokens * (10 * 64 + 4) * 4 + probabilities * 4
    with torch.autocast("cpu", torch.bfloat16):
        assert kept_bytes(lambda: block(x)) <= 2 * tokens * ((2 * 4 + 8 * 2) * 64 + 4 * 4) + probabilities * 2


def test_nothing_is_computed_for_positions_on_the_grid_that_is_trained_on(monkeypatch):
    model = tiny_model()
    images = torch.randn(2, 3, 16, 32)
    plan = model.make_plan(images)
    for name in ("resize_pos_embed", "sincos_pos_embed"):
        monkeypatch.setattr(pos_embed, name, None)  # to call it would fail
    model(images, plan=plan)["loss"].backward()


def test_memory_settings_can_be_changed_both_ways():
    assert keep_freed_memory(False) == keep_freed_memory(True)
