"""Linear maps and attention: the values and gradients of PyTorch's own, with less kept."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from maetool.ops import cpu
from maetool.ops.cpu import attention, gelu_linear, linear, norm_linear
from maetool.ops.patches import take_tokens


def leaves(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def compare(ours, theirs, inputs, tolerance):
    weight = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1), dtype=theirs.dtype)
    results = [(y, *torch.autograd.grad(y, inputs, weight.to(y.dtype))) for y in (ours, theirs)]
    for mine, expected in zip(*results, strict=True):
        assert mine.shape == expected.shape
        assert mine.dtype is expected.dtype
        torch.testing.assert_close(mine, expected, atol=tolerance, rtol=tolerance)


def gelu_then_linear(x, weight, bias):
    return functional.linear(functional.gelu(x), weight, bias)


@pytest.mark.parametrize(("ours", "theirs"), [(linear, functional.linear), (gelu_linear, gelu_then_linear)])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (0, 7)])
def test_linear_maps(ours, theirs, autocast, shape):
    inputs = leaves(shape, (4, 7), (4,))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        mine, expected = ours(*inputs), theirs(*inputs)
    compare(mine, expected, inputs, 5e-2 if autocast else 1e-5)


def test_a_frozen_part_gets_no_gradient():
    x, weight, bias = leaves((5, 7), (4, 7), (4,))
    gelu_linear(x.detach(), weight.detach(), bias).sum().backward()
    assert x.grad is None
    assert weight.grad is None
    assert torch.equal(bias.grad, torch.full((4,), 5.0))


def a_norm():
    norm = nn.LayerNorm(7, eps=1e-2)
    norm.weight.data, norm.bias.data = (value.data for value in leaves((7,), (7,)))
    return norm


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (0, 7)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_normalising_and_a_linear_map(autocast, shape, with_bias):
    norm, (x, weight, bias) = a_norm(), leaves(shape, (4, 7), (4,))
    bias = bias if with_bias else None
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        mine, expected = norm_linear(x, norm, weight, bias), functional.linear(norm(x), weight, bias)
    inputs = [x, norm.weight, norm.bias, weight, *([bias] if with_bias else [])]
    compare(mine, expected, inputs, 5e-2 if autocast else 1e-5)


@pytest.mark.parametrize("frozen", ["x", "norm", "weight", "x, norm and weight"])
def test_normalising_where_a_part_is_frozen(frozen):
    norm, (x, weight, bias) = a_norm(), leaves((5, 7), (4, 7), (4,))
    for name, values in (("x", [x]), ("norm", [norm.weight, norm.bias]), ("weight", [weight])):
        for value in values:
            value.requires_grad_(name not in frozen)
    inputs = [value for value in (x, norm.weight, norm.bias, weight, bias) if value.requires_grad]
    compare(norm_linear(x, norm, weight, bias), functional.linear(norm(x), weight, bias), inputs, 1e-5)


def kept(compute):
    """Return the number of values that `compute` keeps for its backward pass."""
    found = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: found.update({t.data_ptr(): t.numel()}) or t, lambda t: t):
        compute()
    return sum(found.values())


def test_what_is_normalised_is_not_kept():
    norm, (x, weight, bias) = a_norm(), leaves((500, 7), (4, 7), (4,))
    assert kept(lambda: functional.linear(norm(x), weight, bias)) >= 2 * x.numel()
    assert kept(lambda: norm_linear(x, norm, weight, bias)) < 1.5 * x.numel()


@pytest.mark.parametrize("norm", [nn.Identity(), nn.RMSNorm(7), nn.LayerNorm(7, bias=False)])
def test_another_norm_is_simply_called(norm):
    x, weight, bias = leaves((5, 7), (4, 7), (4,))
    compare(norm_linear(x, norm, weight, bias), functional.linear(norm(x), weight, bias), [x, weight, bias], 1e-5)


@pytest.mark.parametrize("scores_at_once", [1, 2 * 3 * 5 * 7, 10**9])
@pytest.mark.parametrize("queries", [7, 5])
@pytest.mark.parametrize("width", [4, 2])  # with few keys for their width, whose probabilities are kept, and with many
def test_attention(monkeypatch, scores_at_once, queries, width):
    monkeypatch.setattr(cpu, "_SCORES", scores_at_once)
    inputs = leaves((5, 3, queries, width), (5, 3, 7, width), (5, 3, 7, 4))
    compare(attention(*inputs), functional.scaled_dot_product_attention(*inputs), inputs, 1e-5)


def test_attention_to_very_many_tokens_never_stores_the_scores(monkeypatch):
    monkeypatch.setattr(cpu, "_MOST_SCORES", 10)
    inputs = leaves(*[(2, 3, 7, 4)] * 3)
    assert "ScaledDotProduct" in attention(*inputs).grad_fn.name()


def test_bfloat16_attention_is_as_exact_as_pytorchs():
    exact = [value.detach().double() for value in leaves(*[(2, 4, 50, 16)] * 3)]
    low = [value.bfloat16() for value in exact]
    truth = functional.scaled_dot_product_attention(*(value.double() for value in low))
    errors = [
        (function(*low).double() - truth).norm() for function in (attention, functional.scaled_dot_product_attention)
    ]
    assert errors[0] < 2 * errors[1]


def test_take_tokens():
    tokens, ids = torch.randn(2, 6, 3), torch.tensor([[4, 0], [1, 5]])
    assert torch.equal(take_tokens(tokens, ids), torch.stack([tokens[0, [4, 0]], tokens[1, [1, 5]]]))
