"""Every block of a run is compiled, and few times: counted by a backend that runs the graphs as they are."""

import re
from copy import deepcopy

import pytest
import torch
from timm.layers import DropPath as TimmDropPath
from torch import nn

from maetool.config import prepare
from maetool.config.load import load_for
from maetool.encoders import SwinTransformer, TimmEncoder
from maetool.errors import UsageError
from maetool.layers import Block, DropPath
from maetool.parallel.blocks import blocks_of, checkpoint_blocks
from maetool.parallel.compiling import compile_blocks, compile_model, parts_of
from maetool.testing import tiny_batch, tiny_config, tiny_model


class Counter:
    """A backend of torch.compile."""

    def __init__(self):
        self.compiled, self.runs = 0, 0

    def __call__(self, graph, inputs):
        self.compiled += 1

        def run(*arguments):
            self.runs += 1
            return graph.forward(*arguments)

        return run

    def of(self, function):
        """Return how many compiled blocks a function runs."""
        before = self.runs
        function()
        return self.runs - before


@pytest.fixture
def counter():
    torch._dynamo.reset()
    with torch._dynamo.config.patch(recompile_limit=8, accumulated_recompile_limit=256):
        yield Counter()
    torch._dynamo.reset()


def step(model, batch_size=4):
    model.train()
    model(**model.data_preprocessor(tiny_batch(batch_size), True))["loss"].backward()


@torch.no_grad()
def validate(model, batch_size):
    model.eval()
    data = model.data_preprocessor(tiny_batch(batch_size))
    model(**data)
    model(data["images"], mode="tensor")


@pytest.mark.parametrize(("depth", "recompute"), [(12, False), (24, False), (12, True)])
def test_all_blocks_of_a_run_with_validation_are_compiled(counter, depth, recompute):
    model = tiny_model(encoder={"depth": depth, "drop_path_rate": 0.1}, decoder={"depth": 8})
    if recompute:
        checkpoint_blocks(model)
    assert compile_blocks(model, {"backend": counter}) == depth + 8
    assert counter.of(lambda: step(model)) == depth + 8
    assert counter.of(lambda: validate(model, 4)) == counter.of(lambda: validate(model, 3)) == 0
    assert counter.of(lambda: step(model)) == depth + 8
    # The first block drops no path, the others do; the decoder's last one computes what is predicted alone.
    assert counter.compiled == 4


def test_a_masking_ratio_that_changes_keeps_all_blocks_compiled(counter):
    masker = {"type": "RandomMasker", "mask_ratio": 0.5}
    model = tiny_model(encoder={"depth": 12, "drop_path_rate": 0.1}, masker=masker)
    number = compile_blocks(model, {"backend": counter})
    for ratio in (0.5, 0.75, 0.875):
        model.masker.mask_ratio = ratio
        assert counter.of(lambda: step(model)) == number


SIZES = {"img_size": 32, "drop_path_rate": 0.2}
TIMMS = {
    "plain": lambda: TimmEncoder("vit_tiny_patch16_224", embed_dim=24, num_heads=2, depth=12, patch_size=8, **SIZES),
    "beit": lambda: TimmEncoder("beit_base_patch16_224", embed_dim=24, num_heads=2, depth=12, patch_size=8, **SIZES),
    "swin": lambda: SwinTransformer(32, 4, 3, 8, (1, 1, 9, 1), (1, 1, 2, 4), window_size=1, drop_path_rate=0.2),
}


@pytest.mark.parametrize("name", TIMMS)
def test_blocks_of_timm_are_compiled_few_times(counter, name):
    encoder = TIMMS[name]()
    assert not any(isinstance(module, TimmDropPath) for module in encoder.modules())
    assert compile_blocks(encoder, {"backend": counter}) == 12
    for _ in range(2):
        # What timm leaves a graph break in runs as several graphs.
        assert counter.of(lambda: encoder(torch.randn(2, 3, 32, 32)).sum().backward()) >= 12
    assert counter.compiled <= 8


def test_a_block_with_numbers_of_its_own_is_compiled_on_its_own(counter):
    class Scaled(nn.Module):
        def __init__(self, number):
            super().__init__()
            self.number, self.weight = number, nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * self.weight + self.number

    model = nn.Module()
    model.blocks = nn.ModuleList(Scaled(number / 7) for number in range(24))
    compile_blocks(model, {"backend": counter})
    x = torch.zeros(2)
    for _ in range(2):
        assert counter.of(lambda: [block(x) for block in model.blocks]) == 24


def test_frozen_blocks_are_compiled_in_evaluation_too(counter):
    model = tiny_model().requires_grad_(False).eval()
    compile_blocks(model, {"backend": counter})
    with torch.no_grad():
        assert counter.of(lambda: model(**model.data_preprocessor(tiny_batch()))) == 3


def test_a_copy_of_a_compiled_model_runs_its_own_weights(counter):
    model = tiny_model()
    images = torch.randn(2, 3, 16, 32)
    compile_blocks(model, {"backend": counter})
    copy = deepcopy(model)
    before = copy.encoder(images)
    for block in blocks_of(model):
        nn.init.zeros_(block.mlp.fc1.weight)
    assert torch.equal(copy.encoder(images), before)
    assert not torch.allclose(model.encoder(images), before)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_drop_path_draws_as_timms_does(rate, dtype):
    x, ours, theirs = torch.randn(64, 3, 4, dtype=dtype), DropPath(rate), TimmDropPath(rate)
    results = []
    for drop in (ours, theirs):
        torch.manual_seed(5)
        results.append((drop(x), drop(x), torch.rand(3)))
    for mine, others in zip(*results, strict=True):
        assert torch.equal(mine, others)
    assert ours.eval()(x) is x
    assert not ours.state_dict()


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_compiled_drop_path_drops_its_share(counter, rate):
    drop = torch.compile(DropPath(rate), backend=counter)
    torch.manual_seed(0)
    kept = drop(torch.ones(100_000, 1)).flatten()
    assert set(kept.unique().tolist()) == {0.0, (torch.ones(()) / torch.tensor(1 - rate)).item()}
    assert (kept == 0).float().mean().item() == pytest.approx(rate, abs=0.006)
    assert counter.runs == 1


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2, float("nan")])
def test_rates_of_drop_path(rate):
    with pytest.raises(UsageError, match=r"drop_path is .*, but must be a share from 0 to below 1"):
        Block(24, 3, drop_path=rate)


PARTS = {"scope": "parts", "fullgraph": True}


def test_encoder_and_decoder_are_one_graph_each_for_each_plan_shape(counter):
    model = tiny_model(encoder={"depth": 1}, masker={"mask_ratio": 0.5})
    assert compile_model(model, {**PARTS, "backend": counter}) == "encoder and decoder"
    assert list(parts_of(model)) == ["encoder", "decoder"]
    for ratio, compiled in ((0.5, 2), (0.75, 4)):
        model.masker.mask_ratio = ratio
        for _ in range(2):
            assert counter.of(lambda: step(model)) == 2
            assert counter.compiled == compiled
    model.masker.mask_ratio = 0.5
    assert counter.of(lambda: step(model)) == 2 and counter.of(lambda: validate(model, 3)) == 0
    assert counter.compiled == 4


def test_compiled_parts_compute_the_same(counter):
    plain, whole = tiny_model(), tiny_model()
    checkpoint_blocks(whole)
    compile_model(whole, {**PARTS, "backend": counter})
    for model in (plain, whole):
        step(model)
    for (name, one), (_, other) in zip(plain.named_parameters(), whole.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    assert list(plain.state_dict()) == list(whole.state_dict()) and counter.runs == 2


def test_decoders_of_tasks_are_parts():
    model = tiny_model(tasks={"far": {"decoder": tiny_config()["decoder"], "head": {"type": "RegressionHead"}}})
    assert list(parts_of(model)) == ["encoder", "decoder", "tasks.far.decoder"]


def test_graphs_are_of_fixed_shapes(monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: setattr(self, "_compiled_call_impl", self._call_impl))
    compile_model(model, {"mode": "reduce-overhead", "scope": "parts"}, "cuda")
    for ratio in (0.5, 0.25, 0.75, 0.625, 0.5):
        model.masker.mask_ratio = ratio
        step(model)
    model.masker.mask_ratio = 0.875
    with pytest.raises(UsageError, match=r"records a CUDA graph for each shape, but encoder got more than 4"):
        step(model)
    validate(model, 3)


@pytest.mark.parametrize(
    ("options", "device", "sentence"),
    [
        ({"mode": "reduce-overhead"}, "cpu", "records CUDA graphs, but this run is on cpu: remove compile.mode"),
        ({"mode": "reduce-overhead", "dynamic": True}, "cuda", "but compile.dynamic=True is for shapes that vary"),
        ({"scope": "model"}, "cpu", 'compile.scope is \'model\', but must be "blocks" or "parts"'),
        ("yes", "cpu", "compile is 'yes', but must be True, False or the arguments"),
    ],
)
def test_what_is_not_compiled(options, device, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        compile_model(tiny_model(), options, device)


def test_what_is_compiled_of_few_models():
    with pytest.raises(UsageError, match="has no `encoder` or `decoder` to compile"):
        compile_model(nn.Linear(1, 1), {"scope": "parts"})
    for options in ({"scope": "parts"}, {"mode": "reduce-overhead"}, {"backend": "cudagraphs"}):
        with pytest.raises(UsageError, match="fsdp=True gathers the weights of each block when it runs"):
            compile_model(tiny_model(), options, "cuda", sharded=True)
    assert compile_model(tiny_model(), True, sharded=True) == "3 blocks"


GRAPHS = "compile={'mode': 'reduce-overhead'}"
TUNED = "compile={'mode': 'max-autotune'}"
INDUCTOR = "compile={'options': {'triton.cudagraphs': True}}"
REFUSED = [
    ("mae/vit-t_shapes", [GRAPHS, "effective_batch_size=128"], "gradients over 2 iterations: remove compile.mode, or"),
    ("mae/vit-t_shapes", [TUNED, "effective_batch_size=192"], "set compile.mode=max-autotune-no-cudagraphs, or make"),
    (
        "adamae/vit-t-two-optimizers_moving-shapes",
        [GRAPHS, "train_dataloader.batch_size=4", "effective_batch_size=16"],
        "over 4 iterations",
    ),
    ("lmd/vit-t_shapes", [INDUCTOR], "mask_ratios="),
    ("detection/vitdet_mask-rcnn_vit-t_shapes", [GRAPHS], "images of a detector are as large as the largest of their"),
    (
        "mae/vit-t_shapes",
        [GRAPHS, "fsdp=True", "effective_batch_size=128"],
        "fsdp=True gathers the weights of each block",
    ),
]


def prepared(name, options, monkeypatch, device):
    monkeypatch.setattr(prepare, "get_device", lambda: device)
    monkeypatch.setattr(prepare, "number_of_processes", lambda launcher: 1 + ("fsdp=True" in options))
    prepare.prepare_run(load_for(f"maetool::{name}.py", options)[0])


@pytest.mark.parametrize(("name", "options", "sentence"), REFUSED)
def test_graphs_that_would_fail_are_refused_with_the_config(name, options, sentence, monkeypatch):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        prepared(name, options, monkeypatch, "cuda")


def test_graphs_that_fit(monkeypatch):
    for options in ([GRAPHS], [TUNED], [INDUCTOR], ["compile={'scope': 'parts'}", "effective_batch_size=128"]):
        prepared("mae/vit-t_shapes", options, monkeypatch, "cuda")
    prepared("mae/vit-t_shapes", [TUNED, "effective_batch_size=128"], monkeypatch, "cpu")
    with pytest.raises(UsageError, match=r"records CUDA graphs, but this run is on cpu: remove compile\.mode"):
        prepared("mae/vit-t_shapes", [GRAPHS], monkeypatch, "cpu")
