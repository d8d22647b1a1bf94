"""Clipping, accumulation, recomputed activations and compilation, alone and together, against the plain path."""

import itertools

import pytest
import torch
from runs import EPOCHS, ITERS, make_runner

from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.errors import UsageError
from maetool.parallel import blocks
from maetool.parallel.blocks import blocks_of, checkpoint_blocks
from maetool.parallel.compiling import compile_blocks
from maetool.testing import tiny_batch, tiny_model

STEPS = 3


def train(clip=False, accumulate=False, recompute=False, compiled=False, dtype="float32", drop_path=0.0):
    """Return the weights and the loss of the last step after three steps of SGD with momentum."""
    model = tiny_model(encoder={"drop_path_rate": drop_path})
    if recompute:
        assert checkpoint_blocks(model) == 3
    if compiled:
        assert compile_blocks(model, {"backend": "aot_eager"}) == 3
    wrapper = AutocastOptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9),
        dtype=dtype,
        accumulative_counts=2 if accumulate else 1,
        clip_grad={"max_norm": 0.5} if clip else None,
    )
    batch, halves = tiny_batch(batch_size=4), 2 if accumulate else 1
    wrapper.initialize_count_status(model, 0, STEPS * halves)
    for step in range(STEPS):
        for part in range(halves):
            torch.manual_seed(step)
            share = slice(part * 4 // halves, (part + 1) * 4 // halves)
            losses = model.train_step({name: value[share] for name, value in batch.items()}, wrapper)
    return dict(model.state_dict()), losses["loss"]


# Half of all, among which every three switches still meet in every combination.
HALF = [switches for switches in itertools.product([False, True], repeat=4) if sum(switches) % 2]


@pytest.mark.parametrize("switches", HALF, ids=str)
def test_every_combination_equals_the_plain_path(switches):
    clip, accumulate, recompute, compiled = switches
    plain, _ = train(clip=clip)  # clipping changes the result; the others must not
    weights, _ = train(clip, accumulate, recompute, compiled)
    assert plain.keys() == weights.keys()
    for name, value in plain.items():
        torch.testing.assert_close(weights[name], value, atol=2e-6, rtol=1e-5)


def test_clipping_changes_the_result():
    (plain, _), (clipped, _) = train(), train(clip=True)
    assert any(not torch.allclose(plain[name], clipped[name], atol=1e-3) for name in plain)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recomputing_repeats_the_random_numbers_of_drop_path(dtype):
    plain, _ = train(dtype=dtype, drop_path=0.5)
    weights, _ = train(recompute=True, dtype=dtype, drop_path=0.5)
    without, _ = train(dtype=dtype)
    assert all(torch.equal(weights[name], value) for name, value in plain.items())
    assert any(not torch.equal(without[name], value) for name, value in plain.items())


def saved_bytes(recompute):
    """Return how much the forward pass keeps for the backward pass."""
    model, sizes = tiny_model(encoder={"depth": 6}), {}
    if recompute:
        checkpoint_blocks(model)

    def pack(tensor):
        sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    data = model.data_preprocessor(tiny_batch(batch_size=16))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(**data)
    return sum(sizes.values())


def test_recomputing_keeps_less():
    assert saved_bytes(True) < 0.4 * saved_bytes(False)


def test_modules_are_checkpointed_by_name():
    model = tiny_model()
    assert checkpoint_blocks(model, ["encoder.blocks.0", "decoder", "decoder"]) == 2
    assert model.decoder.forward.__name__ == model.encoder.blocks[0].forward.__name__ == "recomputed"
    with pytest.raises(
        UsageError,
        match=r"names 'encoder\.block', which is not a module of the model: choose for example encoder\.blocks",
    ):
        checkpoint_blocks(model, ["encoder.block"])
    with pytest.raises(UsageError, match=r"Linear has no module list `blocks`"):
        checkpoint_blocks(torch.nn.Linear(1, 1))


def test_the_switch_of_mmengine_means_the_same_and_counts_once(repository, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(blocks, "checkpoint", lambda forward, *args, **options: calls.append(1) or forward(*args))
    options = ["activation_checkpointing=[encoder.blocks.0,encoder.blocks.1]", "val_dataloader=None"]
    runner = make_runner(repository, tmp_path, options=options, sections={"custom_hooks": []})
    runner.train()
    assert len(calls) == 2 * ITERS * EPOCHS
    assert "activation_checkpointing" not in runner.cfg
    assert list(runner.cfg.gradient_checkpointing) == ["encoder.blocks.0", "encoder.blocks.1"]
    with pytest.raises(UsageError, match="gradient_checkpointing=True and activation_checkpointing="):
        make_runner(repository, tmp_path, options=[*options, "gradient_checkpointing=True"])


def test_the_default_compiler_gives_the_same_loss():
    model, plain = tiny_model(), tiny_model()
    compile_blocks(model, True)
    data = model.data_preprocessor(tiny_batch())
    torch.testing.assert_close(model(**data)["loss"], plain(**data)["loss"], atol=1e-5, rtol=1e-5)


def test_compile_takes_options_of_torch():
    with pytest.raises(UsageError, match="compile is 'fast', but must be True, False or the arguments"):
        compile_blocks(tiny_model(), "fast")


def test_blocks_are_those_of_encoder_and_decoder():
    model = tiny_model()
    assert blocks_of(model) == [*model.encoder.blocks, *model.decoder.blocks]
