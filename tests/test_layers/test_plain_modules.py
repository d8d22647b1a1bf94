"""What watches or replaces a module takes effect, in every encoder and decoder, and kernels change no value."""

from copy import deepcopy
from math import prod

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized.dynamic import Linear as QuantisedLinear
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from maetool.layers import Block, Mlp, call_linear
from maetool.models.pooling import AttentivePooling
from maetool.ops import cpu
from maetool.registry import DECODERS, ENCODERS, build_part
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_model

SIZES = {"img_size": (16, 24), "patch_size": (8, 4), "in_chans": 3, "embed_dim": 24, "num_heads": 2, "depth": 2}
FACTS = {"grid": (2, 6), "encoder_dim": 24, "out_dim": 32, "num_prefix_tokens": 1, "num_layers": 2}
SWIN = {"img_size": (64, 32), "patch_size": 4, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window_size": 2}
INNER = {"type": "TransformerDecoder", "depth": 1, "embed_dim": 16, "num_heads": 2}
NEEDED = {
    "LayerFusionDecoder": [{"layers": [0, 2], "decoder": INNER, "facts": FACTS}],
    "SwinTransformer": [{**SWIN, "embed_dim": 8}],
    "HybridTransformer": [{"conv_dims": (8, 16), "embed_dim": 24}],
    "WindowedTransformer": [{"window_size": 2, "global_blocks": (1,)}],
    "VisionTransformer": [
        {"sees": "visible", "layer_scale": 0.5},
        {"sees": "all"},
        {"qkv_bias": "qv", "qk_norm": True, "pos_embed": "rotary", "num_registers": 2},
    ],
    "StreamTransformer": [
        {"stems": {"image": {"type": "PatchStem", "img_size": (16, 24), "patch_size": (8, 4)}}, "pre_norm": True}
    ],
    "PredictorDecoder": [{"qkv_bias": "qv"}],
    "BranchDecoder": [{"depth": 1, "main_decoder": build_part(INNER, DECODERS, {**SIZES, **FACTS})}],
    "CrossViewDecoder": [{}, {"post_norm": True, "memory_norm": True, "pos_embed": "rotary"}],
    "ScaledDecoder": [{"scale": scale} for scale in (0.5, 1, 2, 4)],
    "ClassBottleneckDecoder": [{"num_heads": 2, "early_layer": 1}],
}
KINDS = (nn.Linear, nn.LayerNorm, nn.Conv2d, nn.GELU)


def cases(registry):
    registry.import_from_location()
    own = {name for name, part in registry.module_dict.items() if part.__module__.startswith("maetool.")}
    names = sorted(own - {"CodebookDecoder"})  # its maps are those of the decoder inside of it
    pairs = [(name, options) for name in names for options in NEEDED.get(name, [{}])]
    return [pytest.param(registry, *pair, id=f"{pair[0]}-{number}") for number, pair in enumerate(pairs)]


PARTS = [*cases(ENCODERS), *cases(DECODERS)]


def build(registry, name, options):
    torch.manual_seed(0)
    part = build_part({"type": name, **options}, registry, {**SIZES, **FACTS})
    for parameter in part.parameters():  # biases and positions too, which begin at zero
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return part


def plan_of(grid):
    return MaskPlan.from_scores(torch.rand(3, prod(grid), generator=torch.Generator().manual_seed(1)), 3, grid)


def inputs_of(part):
    """Return what a part is called with, tensors that need a gradient, and the plan."""
    generator = torch.Generator().manual_seed(2)
    if hasattr(part, "img_size"):
        images = torch.randn(3, part.in_chans, *part.img_size, generator=generator)
        return images.requires_grad_(), plan_of(part.grid)
    plan = plan_of(FACTS["grid"])
    tokens = plan.num_keep if "visible" in part.reads else prod(plan.grid)
    tokens = plan.ids_predict.shape[1] - 1 if "predicted" in part.reads else tokens  # has no prefix
    layers = getattr(part, "layers", None)
    levels = [torch.randn(3, 1 + tokens, 24, generator=generator).requires_grad_() for _ in layers or [None]]
    memory = [torch.randn(3, 13, 24, generator=generator)] if getattr(part, "takes_memory", False) else []
    return levels if layers else levels[0], plan.predicting(getattr(part, "predicts", "planned")), *memory


def run(part, *inputs):
    """Return the output of a part, and the gradients of its inputs and parameters."""
    first = inputs[0]
    leaves = [*([first] if isinstance(first, torch.Tensor) else first)]
    own = [(name, parameter) for name, parameter in part.named_parameters() if parameter.requires_grad]
    leaves += [parameter for name, parameter in own if not name.endswith("norm_k.bias")]  # adds alike to all scores
    out = part(*inputs)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))
    return [out, *torch.autograd.grad((out.float() * weight).sum(), leaves, allow_unused=True)]


def watch(part):
    """Return the names of the modules of some kinds that ran forwards, and of those that ran backwards, in time."""
    forwards, backwards = set(), set()
    for name, module in part.named_modules():
        if isinstance(module, KINDS):
            module.register_forward_hook(lambda *_, name=name: forwards.add(name))
            module.register_full_backward_hook(lambda *_, name=name: backwards.add(name))
    return forwards, backwards


def assert_equal(found, expected, tolerance):
    for mine, other in zip(found, expected, strict=True):
        if other is None:
            assert mine is None
        else:
            torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


@pytest.mark.parametrize(("registry", "name", "options"), PARTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hooks_on_all_modules_fire_and_both_roads_agree(registry, name, options, dtype, monkeypatch):
    part = build(registry, name, options)
    inputs = inputs_of(part)
    tolerance = 1e-5 if dtype is torch.float32 else 0.1
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        quick = run(part, *inputs)
        with monkeypatch.context() as patch:
            patch.setattr(cpu, "takes", lambda *_: False)
            assert_equal(quick, run(part, *inputs), tolerance)
        forwards, backwards = watch(part)
        assert_equal(quick, run(part, *inputs), tolerance)
    names = {name for name, module in part.named_modules() if isinstance(module, KINDS)}
    assert names
    assert forwards == backwards == names
    if isinstance(inputs[0], torch.Tensor) and registry is ENCODERS:
        forwards.clear()
        part(inputs[0])  # of whole images
        assert forwards >= names - {"fuse1", "fuse2"}


def test_the_kernels_are_used_where_nothing_watches():
    def kinds_of(out):
        nodes, seen = [out.grad_fn], set()
        while nodes:
            node = nodes.pop()
            if node is not None and node not in seen:
                seen.add(node)
                nodes += [following for following, _ in node.next_functions]
        return {node.name() for node in seen}

    def kernels(block, x):
        return {name for name in kinds_of(block(x)) if name in ("_LinearBackward", "_NormLinearBackward")}

    block, x = Block(24, 2), torch.randn(2, 5, 24)
    assert kernels(block, x) == {"_LinearBackward", "_NormLinearBackward"}
    assert "_AttentionBackward" in kinds_of(block(x))
    block.norm1.register_forward_pre_hook(lambda *_: None)
    assert "NativeLayerNormBackward0" in kinds_of(block(x))
    assert "_NormLinearBackward" in kernels(block, x)  # of the other norm
    with torch.device("meta"):
        elsewhere = kinds_of(Block(24, 2)(torch.randn(2, 5, 24)))
    assert not [name for name in elsewhere if name.startswith("_") or "Function" in name]
    double = Block(24, 2).double()
    assert not kernels(double, x.double())


class LowRank(nn.Module):
    """A frozen module, and a trained map of low rank beside it."""

    def __init__(self, base, rank=2):
        super().__init__()
        self.base = base.requires_grad_(False)
        width = base.weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, width) / width**0.5)
        self.up = nn.Parameter(torch.randn(len(base.weight), rank))

    def forward(self, x):
        if isinstance(self.base, nn.Conv2d):
            return nn.functional.conv2d(x, self.merged(), self.base.bias, self.base.stride)
        return self.base(x) + x @ self.down.T @ self.up.T

    def merged(self):
        return self.base.weight + (self.up @ self.down).view_as(self.base.weight)


def _embeds(module):
    return isinstance(module, nn.Conv2d) and module.groups == 1


def targets_of(part):
    """Return (parent, name, module) of every linear map and every embedding of patches."""
    found = [(parent, *child) for parent in part.modules() for child in parent.named_children()]
    return [(*entry, module) for *entry, module in found if isinstance(module, nn.Linear) or _embeds(module)]


@pytest.mark.parametrize(("registry", "name", "options"), PARTS)
def test_low_rank_maps_in_the_place_of_all_linear_maps_take_effect(registry, name, options):
    part = build(registry, name, options)
    merged, inputs = deepcopy(part), inputs_of(part)
    before = run(part, *inputs)[0]
    for (parent, place, module), (_, _, twin) in zip(targets_of(part), targets_of(merged), strict=True):
        setattr(parent, place, LowRank(module))
        twin.weight = nn.Parameter(getattr(parent, place).merged().detach())
    found, expected = run(part, *inputs), run(merged, *inputs)[0]
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert not torch.allclose(found[0], before, atol=1e-2)
    trained = [name for name, parameter in part.named_parameters() if parameter.requires_grad]
    gradients = dict(zip(trained, found[-len(trained) :], strict=True))
    assert all(gradients[name].abs().sum() > 0 for name in trained if name.endswith((".up", ".down")))


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize(("registry", "name", "options"), PARTS)
def test_parametrised_weights_take_effect(registry, name, options):
    part = build(registry, name, options)
    doubled, inputs = deepcopy(part), inputs_of(part)
    for module, twin in zip(part.modules(), doubled.modules(), strict=True):
        if isinstance(module, nn.Linear | nn.LayerNorm):
            twin.weight.data *= 2
    for module in list(part.modules()):
        if isinstance(module, nn.Linear | nn.LayerNorm):
            parametrize.register_parametrization(module, "weight", Doubled())
    assert_equal(run(part, *inputs)[:1], run(doubled, *inputs)[:1], 1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, for torchao
@pytest.mark.parametrize(("registry", "name", "options"), PARTS)
def test_dynamic_quantisation_takes_effect(registry, name, options):
    part = build(registry, name, options).eval()
    inputs = inputs_of(part)
    quantised = quantize_dynamic(part, {nn.Linear}, dtype=torch.qint8)
    called = set()
    for place, module in quantised.named_modules():
        assert type(module) is not nn.Linear
        if isinstance(module, QuantisedLinear):
            module.register_forward_hook(lambda *_, place=place: called.add(place))
    assert called == set()
    with torch.no_grad():
        expected, found = part(*inputs), quantised(*inputs)
    assert called == {place for place, module in part.named_modules() if isinstance(module, nn.Linear)}
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.2 * expected.norm()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_model_can_be_quantised_and_still_reconstructs():
    model = tiny_model().eval()
    images = model.data_preprocessor(tiny_batch())["images"]
    plan = model.make_plan(images)
    quantised = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    with torch.no_grad():
        losses = [one(images, plan=plan)["loss"].item() for one in (model, quantised)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.05)


def test_attentive_pooling_asks_through_what_replaces_its_map():
    torch.manual_seed(0)
    pooling, tokens = AttentivePooling(24, 2), torch.randn(3, 5, 24)
    merged = deepcopy(pooling)
    pooling.attn.qkv = LowRank(pooling.attn.qkv)
    merged.attn.qkv.weight.data = pooling.attn.qkv.merged().detach()
    torch.testing.assert_close(pooling(tokens), merged(tokens), rtol=1e-5, atol=1e-5)


def test_a_block_computes_some_tokens_with_another_attention():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(dim=1, keepdim=True).expand_as(x)

    block, x, ids = Block(24, 2), torch.randn(2, 5, 24), torch.tensor([[3, 1], [0, 4]])
    block.attn = Mean()
    everything = block(x).gather(1, ids[..., None].expand(-1, -1, 24))
    torch.testing.assert_close(block(x, ids), everything)


class TwiceTheWeight(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, 2 * self.weight, self.bias)


def replace_forward(module):
    module.forward = TwiceTheWeight.forward.__get__(module)


def replace_class(module):
    module.__class__ = TwiceTheWeight


def hook_before(module):
    module.register_forward_pre_hook(lambda _, inputs: 2 * inputs[0])


def hook_after(module):
    module.register_forward_hook(lambda module, _, output: 2 * output - module.bias)


@pytest.mark.parametrize("change", [replace_forward, replace_class, hook_before, hook_after])
@pytest.mark.parametrize("name", ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"])
@pytest.mark.parametrize("ids", [None, torch.tensor([[0, 2], [1, 3]])], ids=["all tokens", "some"])
def test_each_way_to_change_a_linear_map_takes_effect(change, name, ids):
    torch.manual_seed(0)
    block, x = Block(24, 2), torch.randn(2, 5, 24)
    twin, before = deepcopy(block), block(x, ids)
    twin.get_submodule(name).weight.data *= 2
    change(block.get_submodule(name))
    torch.testing.assert_close(block(x, ids), twin(x, ids), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(block(x, ids), before, atol=1e-2)


def test_a_patched_class_and_hooks_on_all_modules_take_effect(monkeypatch):
    torch.manual_seed(0)
    block, x = Block(24, 2), torch.randn(2, 5, 24)
    twin = deepcopy(block)
    for module in twin.modules():
        if isinstance(module, nn.Linear):
            module.weight.data *= 2
    expected = twin(x)
    with monkeypatch.context() as patch:
        patch.setattr(nn.Linear, "forward", TwiceTheWeight.forward)
        torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    block(x)
    handle.remove()
    assert {id(module) for module in block.modules()} == {id(module) for module in seen}


@pytest.mark.parametrize("name", ["attn", "mlp"])
def test_hooks_on_a_branch_see_what_the_norm_returns(name):
    block, x, seen = Block(24, 2), torch.randn(2, 5, 24), []
    norm = {"attn": block.norm1, "mlp": block.norm2}[name]
    block.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    norm.register_forward_hook(lambda *found: seen.append(found[2]))
    block(x)
    assert len(seen) == 2 and seen[0] is seen[1]


def test_another_activation_takes_effect():
    torch.manual_seed(0)
    for act in (nn.GELU("tanh"), nn.ReLU(), nn.Identity()):
        mlp, x = Mlp(24, 48), torch.randn(5, 24)
        mlp.act = act
        torch.testing.assert_close(mlp(x), mlp.fc2(act(mlp.fc1(x))), rtol=1e-5, atol=1e-5)


def test_flops_are_counted_on_a_cpu():
    def count(device):
        mlp = Mlp(24, 48).to(device)
        with FlopCounterMode(display=False) as counter:
            mlp(torch.ones(5, 24, device=device)).sum().backward()
        return counter.get_total_flops()

    assert count("cpu") == count("meta") == 2 * 5 * 24 * 48 * (2 + 3)  # of the input there is no gradient


def test_a_mixture_of_types_is_refused_as_everywhere():
    module = nn.Linear(4, 4)
    with pytest.raises(RuntimeError, match="dtype"):
        call_linear(module, torch.zeros(2, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize("hooked", [False, True])
def test_a_compiled_block_runs_its_hooks(hooked):
    torch.manual_seed(0)
    torch._dynamo.reset()
    block, x, graphs = Block(24, 2), torch.randn(2, 5, 24), []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    expected = block(x)
    if hooked:
        block.norm1.register_forward_hook(lambda *found: found[2] + 1)
        block.attn.qkv.register_forward_hook(lambda *found: 2 * found[2])
        changed = block(x)
        assert not torch.allclose(changed, expected, atol=1e-3)
        expected = changed
    block.compile(backend=backend, fullgraph=True)
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)
    assert len(graphs) == 1
    torch._dynamo.reset()


@pytest.mark.skipif(not cpu._ONEDNN, reason="no oneDNN")
@pytest.mark.skipif(
    torch.__version__.startswith("2.9."), reason="the compiler of torch 2.9 takes PyTorch's own products"
)
def test_a_compiled_block_computes_by_the_same_products():
    def products(block, x):
        block(x).sum().backward()
        with torch.profiler.profile() as found:
            block(x).sum().backward()
        return sum(event.count for event in found.key_averages() if event.key == "mkldnn::_linear_pointwise")

    torch._dynamo.reset()
    block, x = Block(24, 2), torch.randn(2, 5, 24, requires_grad=True)
    assert products(block, x) == products(torch.compile(block, backend="aot_eager"), x) == 4 * 3
    torch._dynamo.reset()
