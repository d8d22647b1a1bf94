"""Derivatives of every kind of a model on a CPU: transforms of functions, second ones, forward mode, batches."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from maetool.ops import cpu
from maetool.testing import tiny_batch, tiny_model

MODEL = tiny_model()
IMAGES = MODEL.data_preprocessor(tiny_batch())["images"]
KEYS = torch.arange(len(IMAGES))
WEIGHTS = {name: value.detach() for name, value in MODEL.named_parameters() if value.requires_grad}


def loss_of(weights, images, keys):
    return torch.func.functional_call(MODEL, weights, (images, {"key": keys}))["loss"]


def gradients(images, keys, **options):
    leaves = [value for value in MODEL.parameters() if value.requires_grad]
    found = torch.autograd.grad(MODEL(images, {"key": keys})["loss"], leaves, **options)
    return dict(zip(WEIGHTS, found, strict=True))


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=4e-6)


def test_torch_func_gives_the_gradients_of_autograd():
    assert_equal(torch.func.grad(loss_of)(WEIGHTS, IMAGES, KEYS), gradients(IMAGES, KEYS))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_each_sample():
    def of_one(weights, image, key):
        return loss_of(weights, image[None], key[None])

    found = torch.func.vmap(torch.func.grad(of_one), (None, 0, 0))(WEIGHTS, IMAGES, KEYS)
    for i in range(len(IMAGES)):
        assert_equal({name: value[i] for name, value in found.items()}, gradients(IMAGES[i : i + 1], KEYS[i : i + 1]))


def test_several_models_at_once():
    models = {name: torch.stack([value, 1.1 * value]) for name, value in WEIGHTS.items()}
    found = torch.func.vmap(loss_of, (0, None, None))(models, IMAGES, KEYS)
    for i in range(2):
        expected = loss_of({name: value[i] for name, value in models.items()}, IMAGES, KEYS)
        torch.testing.assert_close(found[i], expected)


def direction():
    torch.manual_seed(5)
    return {name: torch.randn_like(value) for name, value in WEIGHTS.items()}


def slope(towards):
    return sum((gradient * towards[name]).sum() for name, gradient in gradients(IMAGES, KEYS).items())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_forward_mode():
    towards = direction()
    value, change = torch.func.jvp(lambda weights: loss_of(weights, IMAGES, KEYS), (WEIGHTS,), (towards,))
    torch.testing.assert_close(value, MODEL(IMAGES, {"key": KEYS})["loss"])
    torch.testing.assert_close(change, slope(towards), rtol=1e-4, atol=1e-5)
    with forward_ad.dual_level():
        dual = {name: forward_ad.make_dual(value, towards[name]) for name, value in WEIGHTS.items()}
        change = forward_ad.unpack_dual(loss_of(dual, IMAGES, KEYS)).tangent
    torch.testing.assert_close(change, slope(towards), rtol=1e-4, atol=1e-5)


def curvature(towards):
    """Return the product of the loss's Hessian and a direction, by differentiating the gradient."""
    found = gradients(IMAGES, KEYS, create_graph=True)
    slope = sum((found[name] * towards[name]).sum() for name in found)
    leaves = [value for value in MODEL.parameters() if value.requires_grad]
    return dict(zip(WEIGHTS, torch.autograd.grad(slope, leaves), strict=True))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_second_derivatives():
    towards = direction()
    gradient = torch.func.grad(lambda weights: loss_of(weights, IMAGES, KEYS))
    expected = torch.func.jvp(gradient, (WEIGHTS,), (towards,))[1]
    found = curvature(towards)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-3 * value.abs().max().item())


def test_gradients_of_several_outputs_at_once():
    images = IMAGES.clone().requires_grad_()
    outputs = MODEL.encoder(images).mean(dim=(0, 1))
    (found,) = torch.autograd.grad(outputs, images, torch.eye(len(outputs)), is_grads_batched=True)
    for i, output in enumerate(MODEL.encoder(images).mean(dim=(0, 1))):
        (expected,) = torch.autograd.grad(output, images, retain_graph=True)
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-6)


def second(function, inputs):
    """Return the first gradients of a function's squared sum, and then those of their squared sum."""
    first = torch.autograd.grad(function(*inputs).square().sum(), inputs, create_graph=True)
    return [*first, *torch.autograd.grad(sum(value.square().sum() for value in first), inputs)]


def leaves(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def normed(x, gamma, beta, weight, bias):
    norm = nn.LayerNorm(7, eps=1e-2)
    norm.weight, norm.bias = (nn.Parameter(value) for value in (gamma, beta))
    norm._parameters.update(weight=gamma, bias=beta)
    return cpu.norm_linear(x, norm, weight, bias)


KERNELS = [
    (cpu.linear, [(2, 3, 7), (4, 7), (4,)]),
    (cpu.gelu_linear, [(2, 3, 7), (4, 7), (4,)]),
    (normed, [(2, 3, 7), (7,), (7,), (4, 7), (4,)]),
    (cpu.attention, [(2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)]),
]


@pytest.mark.parametrize(("kernel", "shapes"), KERNELS)
def test_second_derivatives_of_each_kernel(kernel, shapes, monkeypatch):
    inputs = leaves(*shapes)
    assert kernel(*inputs).grad_fn.name().startswith("_")  # a kernel, and not PyTorch's own
    found = second(kernel, inputs)
    monkeypatch.setattr(cpu, "takes", lambda *_: False)
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", cpu._plain_attention)
    for mine, expected in zip(found, second(kernel, inputs), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_second_derivatives_where_a_part_is_frozen_or_comes_twice(monkeypatch):
    (x,) = leaves((2, 3, 5, 4))
    frozen = torch.randn(2, 3, 5, 4)

    def both():
        twice = second(lambda x: cpu.attention(x, x, frozen), [x])
        return [*twice, *second(lambda x: cpu.attention(frozen, x, x), [x])]

    found = both()
    monkeypatch.setattr(cpu, "attention", cpu._plain_attention)
    for mine, expected in zip(found, both(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_compiled_transforms():
    torch._dynamo.reset()

    @torch.compile(backend="aot_eager")
    def compiled(weights):
        return torch.func.grad(lambda w: torch.func.functional_call(block, w, (x,)).square().sum())(weights)

    block, x = MODEL.encoder.blocks[0], torch.randn(2, 5, 24)
    weights = {name: value.detach() for name, value in block.named_parameters()}
    found = compiled(weights)
    expected = torch.autograd.grad(block(x).square().sum(), list(block.parameters()))
    assert_equal(found, dict(zip(weights, expected, strict=True)))
    torch._dynamo.reset()
