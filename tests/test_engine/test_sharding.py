"""Where the tensors of a sharded model are: full ones on the CPU of the first process only."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from ranks import run_ranks
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode

from maetool.engine.hooks.guard import NonFiniteHook
from maetool.engine.optim.by_part import OptimizersByPartConstructor
from maetool.engine.optim.full_state import full_state, load_full_state
from maetool.engine.optim.lars import LARS
from maetool.engine.optim.loss_scaler import LossScaler
from maetool.engine.optim.steps import pending_of, settle
from maetool.engine.optim.wrapper import AutocastOptimWrapper, StepReport
from maetool.errors import UsageError
from maetool.models import parts_after_step
from maetool.parallel.sharding import full_weights, load_weights_into, read_on_first, shard
from maetool.testing import tiny_batch, tiny_config, tiny_model
from maetool.testing.waits import WaitCounter


def trained(seed, steps=1):
    """Return a sharded model and its optimiser after some steps."""
    torch.manual_seed(seed)
    model = shard(tiny_model())
    wrapper = AutocastOptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1), dtype="float32")
    wrapper.initialize_count_status(model, 0, 10)
    for _ in range(steps):
        model.train_step(tiny_batch(), wrapper)
    return model, wrapper


def full_tensors(value):
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in full_tensors(item)]
    return [value] if isinstance(value, torch.Tensor) and value.ndim else []


def only_the_first_holds_full_tensors(rank):
    model, wrapper = trained(seed=0)
    state = {"state_dict": full_weights(model), "optimizer": full_state(wrapper)["state"]}
    tensors = full_tensors(state)
    assert not any(isinstance(tensor, DTensor) for tensor in tensors)
    sizes = sum(parameter.numel() for parameter in model.parameters())
    assert sum(tensor.numel() for tensor in tensors) >= sizes if rank == 0 else not tensors
    assert full_weights(model, everywhere=True).keys() == model.state_dict().keys()


def what_the_first_reads_all_get(rank):
    model, wrapper = trained(seed=0, steps=2)
    saved = {"state_dict": full_weights(model), "optimizer": full_state(wrapper), "message_hub": torch.arange(3)}
    state = read_on_first(lambda: saved if rank == 0 else 1 / 0)  # the others must not read
    assert state["message_hub"].tolist() == [0, 1, 2]
    assert {tensor.is_meta for tensor in full_tensors(state["state_dict"])} == {rank != 0}
    other, optimizer = trained(seed=1)
    load_weights_into(other, state["state_dict"])
    load_full_state(optimizer, state["optimizer"])
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one.to_local(), two.to_local())
        for name, value in wrapper.optimizer.state.get(one, {}).items():
            copy = optimizer.optimizer.state[two][name]
            pair = (value.to_local(), copy.to_local()) if isinstance(value, DTensor) else (value, copy)
            assert torch.equal(*pair), name


def some_weights_are_loaded_and_mistakes_told(rank):
    model, _ = trained(seed=0)
    before = full_weights(model, everywhere=True)
    load_weights_into(model, {"encoder.cls_token": torch.ones_like(before["encoder.cls_token"])})
    after = full_weights(model, everywhere=True)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"encoder.cls_token"}

    def broken():
        raise UsageError("no file")

    with pytest.raises(UsageError, match="no file"):  # in both processes
        read_on_first(broken)


def a_state_comes_back_as_it_was(rank):
    """Also that of a frozen parameter, none of one that no step has reached, and without a step."""
    _, wrapper = trained(seed=0, steps=2)
    frozen, unreached = 3, 5
    del wrapper.optimizer.state[wrapper.parameters[unreached]]
    wrapper.parameters[frozen].requires_grad_(False)
    full, before = full_state(wrapper), wrapper.optimizer.state_dict()
    assert frozen in before["state"]
    assert unreached not in before["state"]
    state = read_on_first(lambda: full)
    _, other = trained(seed=1, steps=0)
    other.parameters[frozen].requires_grad_(False)
    steps = []
    other.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    weights = [parameter.to_local().clone() for parameter in other.parameters]
    load_full_state(other, state)
    after = other.optimizer.state_dict()
    assert not steps
    assert all(torch.equal(one, two.to_local()) for one, two in zip(weights, other.parameters, strict=True))
    assert after["state"].keys() == before["state"].keys()
    for number, entry in before["state"].items():
        assert entry.keys() == after["state"][number].keys()
        assert all(same(value, after["state"][number][name]) for name, value in entry.items())


def same(one, two):
    assert type(one) is type(two)
    return torch.equal(*(value.to_local() if isinstance(value, DTensor) else value for value in (one, two)))


def an_optimiser_that_made_no_step_has_no_state(rank):
    _, wrapper = trained(seed=0, steps=0)
    steps = []
    wrapper.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    state = full_state(wrapper)
    assert state["state"] == {}
    load_full_state(wrapper, state)
    assert not wrapper.optimizer.state
    assert not steps


def gradients_and_several_optimisers(rank):
    torch.manual_seed(0)
    model = shard(tiny_model())
    halves = list(model.encoder.parameters()), list(model.decoder.parameters())
    parts = [OptimWrapper(torch.optim.SGD(halves[0], lr=0.1, momentum=0.9))]
    parts.append(AutocastOptimWrapper(torch.optim.SGD(halves[1], lr=0.1), dtype="float32", accumulative_counts=2))
    for part in parts:
        part.initialize_count_status(model, 0, 10)
    loss = model(**model.data_preprocessor(tiny_batch()), mode="loss")["loss"]
    parts[1].backward(loss)
    parts[0].step()
    state = full_state(OptimWrapperDict(one=parts[0], two=parts[1]))
    gradients = [gradient for gradient in state["two"]["gradients"] if gradient is not None]
    assert len(gradients) == sum(parameter.grad is not None and rank == 0 for parameter in halves[1])
    assert gradients or rank
    assert not any(isinstance(tensor, DTensor) for tensor in full_tensors(state["one"]) + gradients)
    before = [None if parameter.grad is None else parameter.grad.to_local().clone() for parameter in halves[1]]
    load_full_state(parts[1], read_on_first(lambda: state["two"]))
    for parameter, gradient in zip(halves[1], before, strict=True):
        assert (gradient is None and parameter.grad is None) or torch.equal(parameter.grad.to_local(), gradient)


def by_part(model):
    sgd = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}, "clip_grad": {"max_norm": 0.1}}
    shared = {"type": AutocastOptimWrapper, "dtype": "float32", "accumulative_counts": 2}
    wrapper = OptimizersByPartConstructor({**shared, "main": sgd, "decoder": {**sgd, "parts": "decoder"}})(model)
    wrapper.initialize_count_status(model, 0, 10)
    return wrapper


def optimisers_of_parts_step_together(rank):
    trained = []
    for wrap in (lambda model: model, shard, lambda model: MMDistributedDataParallel(module=model)):
        torch.manual_seed(0)
        model = wrap(tiny_model())
        wrapper = by_part(model)
        for _ in range(3):  # one step, and gradients for the next
            model.train_step(tiny_batch(), wrapper)
        state = full_state(wrapper)
        assert len(state["decoder"]["gradients"]) < len(state["main"]["gradients"]) or rank
        trained.append(full_weights(getattr(model, "module", model), everywhere=True))
    for name, value in trained[0].items():
        for other in trained[1:]:
            torch.testing.assert_close(other[name], value)


BEIT = {"type": "TimmEncoder", "name": "beit_base_patch16_224", "img_size": 32, "patch_size": 8}
READ_OUTSIDE = [  # models that compute with weights of a block, or of the whole model, beside `forward`
    {"encoder": {**BEIT, "embed_dim": 24, "depth": 2, "num_heads": 3}},
    {"teacher": {"type": "MomentumTeacher"}, "masker": {"type": "AttentionMasker", "unmasked": 0.0}},
    {
        "teacher": {"type": "MomentumTeacher", "predicts": "hard"},
        "masker": {"type": "HardPatchMasker", "hard_share": (0.5, 0.5)},
        "tasks": {
            "hard": {
                "decoder": {"type": "BranchDecoder", "depth": 1},
                "target": {"type": "ErrorTarget", "standardise": False},
                "head": {"type": "RankingHead"},
            }
        },
    },
]


def weights_are_whole_wherever_they_are_read(rank):
    for parts in READ_OUTSIDE:
        plain = tiny_model(**parts)
        model = shard(tiny_model(**parts))
        data = plain.data_preprocessor(tiny_batch(size=plain.encoder.img_size), training=True)
        losses = [each(**data, mode="loss")["loss"] for each in (plain, model)]
        assert torch.equal(*losses)
        losses[1].backward()
        plans = [each.make_plan(data["images"], data["data_samples"]) for each in (plain, model)]
        assert torch.equal(*(plan.mask for plan in plans))


def a_fault_of_one_process_is_described_by_all(rank):
    model = shard(tiny_model(**READ_OUTSIDE[1]))
    model.train_step(tiny_batch(), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    wrapper = StepReport(guard=True, fault="the loss is inf" if rank else None, skipping=True, skipped=1)
    facts = {"iter": 5, "epoch": 0, "seed": 0, "rank": rank, "config_facts": {}, "work_dir": "none"}
    runner = SimpleNamespace(**facts, bare_model=model, optim_wrapper=wrapper, logger=logging.getLogger("none"))
    runner.full_state_dict = lambda everywhere: full_weights(model, everywhere)
    written = []
    hook = NonFiniteHook()
    hook._write = lambda runner, step, iteration: written.append(step) or "a file"
    hook.before_train_iter(runner, 0, tiny_batch())
    hook.after_train_iter(runner, 0, tiny_batch())
    assert len(written) == rank
    assert all(step["plan"] is not None for step in written)


def halves_are_gathered_and_summed_in_float32(rank):
    """A step with weights gathered in bfloat16 is that of autocast on one process, but for norms and biases."""
    results = []
    for sharded in (False, True):
        model = tiny_model(encoder={"norm_layer": "rms"})
        model = shard(model, torch.bfloat16) if sharded else model
        wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), dtype="bfloat16")
        seen = []
        model.encoder.blocks[0].mlp.fc1.register_forward_hook(lambda part, x, y, seen=seen: seen.append(part.weight))
        losses = [model.train_step(tiny_batch(), wrapper)["loss"].item() for _ in range(2)]
        assert seen[0].dtype is (torch.bfloat16 if sharded else torch.float32) and seen[0].shape == (96, 24)
        grads = {parameter.dtype for parameter in model.parameters()}
        assert grads == {torch.float32} and full_weights(model, everywhere=True)["encoder.norm.weight"].dtype in grads
        with torch.no_grad():
            validated = model.eval()(**model.data_preprocessor(tiny_batch()))["loss"]  # without autocast
        results.append([*losses, validated.item(), full_weights(model, everywhere=True)])
    for one, other in zip(results[0][:3], results[1][:3], strict=True):
        assert one == pytest.approx(other, rel=5e-3)
    for name, value in results[0][3].items():
        torch.testing.assert_close(value, results[1][3][name], atol=2e-3, rtol=2e-2, msg=name)


def a_frozen_teacher_stays_whole(rank):
    teacher = {"type": "FrozenTeacher", "teacher": tiny_config()["encoder"], "layers": [1, 2]}
    parts = {"teacher": teacher, "target": {"type": "TeacherFeatureTarget"}}
    plain, model = tiny_model(**parts), tiny_model(**parts)
    shard(model)
    kinds = {name: isinstance(value, DTensor) for name, value in model.named_parameters()}
    assert {name.split(".")[0] for name, sharded in kinds.items() if not sharded} == {"teacher"}
    assert {name.split(".")[0] for name, sharded in kinds.items() if sharded} >= {"encoder", "decoder"}
    for each in (plain, model):
        wrapper = AutocastOptimWrapper(torch.optim.SGD(each.parameters(), lr=0.1), dtype="float32")
        each.train_step(tiny_batch(), wrapper)
    whole = full_weights(model, everywhere=True)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, whole[name], msg=name)
    of_first = full_weights(model)
    assert of_first.keys() == (whole.keys() if rank == 0 else set())
    changed = {name: torch.full_like(value, 0.5) for name, value in whole.items() if value.is_floating_point()}
    load_weights_into(model, read_on_first(lambda: changed))
    assert all(torch.equal(full_weights(model, everywhere=True)[name], value) for name, value in changed.items())


def gradients_are_reduced_once_a_step(rank):
    """Not in accumulated iterations, unless a state is saved there, which then holds all of them."""
    finished = []
    for saved in (None, 0, 4, 5):
        torch.manual_seed(0)
        model = MMDistributedDataParallel(module=tiny_model()) if saved is None else shard(tiny_model())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        wrapper = AutocastOptimWrapper(optimizer, "float32", accumulative_counts=3, clip_grad={"max_norm": 2.0})
        wrapper.initialize_count_status(model, 0, 8)
        for iteration in range(8):  # the last two make a step, too
            batch = tiny_batch()
            with CommDebugMode() as counter:
                model.train_step({**batch, "key": batch["key"] + 9 * iteration + 99 * rank}, wrapper)
            reductions = counter.comm_counts.get(torch.ops.c10d._reduce_scatter_base_, 0)
            assert reductions == (4 if iteration in (2, 5, 7) else 0) or saved is None  # of three blocks and the rest
            if iteration + 1 == saved:
                state = full_state(wrapper)
                load_full_state(wrapper, read_on_first(lambda state=state: state))
        finished.append(full_weights(getattr(model, "module", model), everywhere=True))
    for other in finished[1:]:
        for name, value in finished[0].items():
            torch.testing.assert_close(value, other[name], atol=2e-6, rtol=1e-5, msg=name)


def late_steps_are_those_that_wait(rank):
    """Those of a sharded model and its teacher, too, of which one process has a broken batch, also after a resume."""
    finished = []
    for deferred in (False, True):
        torch.manual_seed(0)
        model = shard(tiny_model(teacher={"type": "MomentumTeacher"}, target={"type": "TeacherFeatureTarget"}))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
        wrapper = AutocastOptimWrapper(optimizer, "float32", clip_grad={"max_norm": 2.0}, deferred=deferred)
        wrapper.initialize_count_status(model, 0, 4)
        for iteration in range(4):
            batch = tiny_batch()
            broken = iteration == 2 and rank == 1
            inputs = batch["inputs"].float() * (torch.inf if broken else 1)
            model.train_step({**batch, "inputs": inputs}, wrapper)
            pending = pending_of(wrapper)
            skipped = torch.tensor(iteration == 2) if deferred else None
            assert (pending is not None) == deferred == wrapper.deferred
            if deferred or iteration != 2:
                parts_after_step(model, 0.5, skipped)
            if iteration == 0:
                state = full_state(wrapper)
                load_full_state(wrapper, read_on_first(lambda state=state: state))
        settle(wrapper)
        assert wrapper.skipped == 1
        finished.append([*full_weights(model, everywhere=True).values(), *full_tensors(full_state(wrapper))])
    assert all(torch.equal(one, other) for one, other in zip(*finished, strict=True))


def late_steps_of_other_optimisers_too(rank):
    """Nothing is read, sharded or not, with or without a scaled loss; broken is the first step or, scaled, two."""
    cases = [(torch.optim.SGD, {"momentum": 0.9}, 2.0**127), (LARS, {"weight_decay": 0.1}, None)]
    for kind, options, scale in cases:
        finished = []
        for wrap, deferred in ((distributed, False), (distributed, True), (shard, True)):
            torch.manual_seed(0)
            model = wrap(tiny_model())
            optimizer = kind(model.parameters(), lr=0.5, **options)
            wrapper = AutocastOptimWrapper(optimizer, "float32", clip_grad={"max_norm": 2.0}, deferred=deferred)
            wrapper.loss_scaler = LossScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
            for iteration in range(3):
                batch = tiny_batch()
                broken = rank == 1 and iteration == (1 if scale else 0)
                with WaitCounter() as counter:
                    model.train_step({**batch, "inputs": batch["inputs"] * (torch.inf if broken else 1.0)}, wrapper)
                assert any("optim" in wait for wait in counter.waits) != deferred, counter.waits
            settle(wrapper)
            assert wrapper.skipped == 1 and wrapper.loss_scaler.get_scale() == (2.0**125 if scale else 1.0)
            finished.append(full_weights(getattr(model, "module", model), everywhere=True))
        for other in finished[1:]:
            for name, value in finished[0].items():
                torch.testing.assert_close(value, other[name], atol=2e-6, rtol=1e-5, msg=name)


def distributed(model):
    return MMDistributedDataParallel(module=model)


CHECKS = [
    only_the_first_holds_full_tensors,
    what_the_first_reads_all_get,
    some_weights_are_loaded_and_mistakes_told,
    a_state_comes_back_as_it_was,
    an_optimiser_that_made_no_step_has_no_state,
    gradients_and_several_optimisers,
    optimisers_of_parts_step_together,
    weights_are_whole_wherever_they_are_read,
    a_fault_of_one_process_is_described_by_all,
    halves_are_gathered_and_summed_in_float32,
    a_frozen_teacher_stays_whole,
    gradients_are_reduced_once_a_step,
    late_steps_are_those_that_wait,
    late_steps_of_other_optimisers_too,
]


def check(rank):
    torch.set_num_threads(1)
    for function in CHECKS:
        function(rank)


def test_two_processes():
    run_ranks(check)


def test_one_process_needs_no_group():
    model = tiny_model()
    load_weights_into(model, {"encoder.cls_token": torch.ones_like(model.encoder.cls_token)})
    assert full_weights(model)["encoder.cls_token"].eq(1).all()
