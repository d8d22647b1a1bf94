"""Schedules, parameter groups, mixed precision."""

import numpy as np
import pytest
import torch

from maetool.decoders import LayerFusionDecoder
from maetool.encoders import SwinTransformer, TimmEncoder, VisionTransformer, WindowedTransformer
from maetool.engine.optim.check import check_state
from maetool.engine.optim.param_groups import decay_groups, in_present_groups
from maetool.engine.optim.schedules import WarmupCosineLR
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.errors import UsageError
from maetool.testing import tiny_batch, tiny_model


def sgd(lr=1.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def test_schedule_equals_the_published_one(data_dir):
    golden = np.load(data_dir / "warmup_cosine.npz")
    base, epochs, warmup = float(golden["base"]), int(golden["epochs"]), int(golden["warmup_epochs"])
    schedule = WarmupCosineLR(sgd(base), epochs, warmup, min_lr=float(golden["min_lr"]))
    ours = [schedule.at(epoch, base) for epoch in golden["epoch"]]
    np.testing.assert_allclose(ours, golden["lr"], rtol=1e-9, atol=1e-12)


def rates(steps, **options):
    optimizer = sgd()
    schedule = WarmupCosineLR(optimizer, **options)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_warm_up_starts_from_zero_and_the_cosine_ends_at_the_minimum():
    seen = rates(41, epochs=10, warmup_epochs=2, epoch_length=4, min_lr=0.1)
    assert seen[:9] == pytest.approx([i / 8 for i in range(9)])
    assert seen[24] == pytest.approx(0.55)  # half way
    assert seen[40] == pytest.approx(0.1)


def test_the_warm_up_may_start_from_another_rate_which_layer_decay_scales():
    schedule = WarmupCosineLR(sgd(5e-4), 30, 10, start_lr=1e-4)
    assert [schedule.at(epoch, 5e-4) for epoch in (0, 5, 10)] == pytest.approx([1e-4, 3e-4, 5e-4])
    schedule = WarmupCosineLR(
        torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 5e-5, "lr_scale": 0.1}]), 30, 10, start_lr=1e-4
    )
    assert schedule.get_last_value() == pytest.approx([1e-5])
    with pytest.raises(UsageError, match="start_lr is -1"):
        WarmupCosineLR(sgd(1.0), 30, 10, start_lr=-1)


def test_a_share_of_the_half_cosine():
    schedule = WarmupCosineLR(sgd(1.0), 50, 10, min_lr=0.1, cosine_share=0.8)
    longer = WarmupCosineLR(sgd(1.0), 60, 10, min_lr=0.1)
    expected = [longer.at(epoch, 1.0) for epoch in (5, 10, 30, 50, 50)]
    assert [schedule.at(epoch, 1.0) for epoch in (5, 10, 30, 50, 60)] == pytest.approx(expected)
    with pytest.raises(UsageError, match=r"cosine_share is 1\.2, but must be above 0 and at most 1"):
        WarmupCosineLR(sgd(1.0), 50, 10, cosine_share=1.2)


def test_the_rate_only_changes_between_optimiser_steps():
    fine = rates(24, epochs=6, warmup_epochs=1, epoch_length=4)
    coarse = rates(24, epochs=6, warmup_epochs=1, epoch_length=4, accumulation=3)
    assert coarse == [fine[i - i % 3] for i in range(24)]


def test_groups_are_those_of_the_paper():
    model = tiny_model()
    decayed, plain = decay_groups(model)
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, plain = ([names[id(p)] for p in group["params"]] for group in (decayed, plain))
    assert "encoder.cls_token" in decayed
    assert "decoder.mask_token" in decayed
    assert "encoder.patch_embed.proj.weight" in decayed
    assert "encoder.pos_embed" not in decayed + plain  # fixed
    assert all(name.endswith(".bias") or "norm" in name for name in plain)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert sorted(decayed + plain) == sorted(trainable)


SWIN = {"depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 1, "embed_dim": 8}
SWIN |= {"img_size": (32, 32), "patch_size": (4, 4)}
PLAIN = {"pos_embed": "learned"}
BEIT = {"name": "beit_base_patch16_224", "sees": "all", "img_size": 32, "embed_dim": 24}
BEIT |= {"patch_size": 8, "num_heads": 2, "depth": 1, "options": {"use_abs_pos_emb": True}}
LISTS = {  # by the published lists: kept from decay, and decayed, beside weights of linear maps
    "MAE": (VisionTransformer, {**PLAIN, "sees": "visible"}, {"pos_embed"}, {"cls_token"}),
    "SimMIM": (VisionTransformer, {**PLAIN, "sees": "all"}, {"pos_embed", "cls_token"}, {"mask_token"}),
    "SimMIM, Swin": (
        SwinTransformer,
        SWIN,
        {"mask_token", *(f"layers.{i}.blocks.0.attn.relative_position_bias_table" for i in range(4))},
        set(),
    ),
    "BEiT": (
        TimmEncoder,
        BEIT,
        {"vit.cls_token", "vit.pos_embed"},
        {"mask_token", "vit.blocks.0.attn.relative_position_bias_table"},
    ),
    "MAE, timm": (TimmEncoder, {**BEIT, "sees": "visible"}, {"vit.pos_embed"}, {"vit.cls_token"}),
    "ViTDet": (
        WindowedTransformer,
        {"global_blocks": (0,), "depth": 1, "img_size": 32, "embed_dim": 24, "num_heads": 2},
        {"pos_embed"},
        {"blocks.0.attn.rel_pos_h", "blocks.0.attn.rel_pos_w"},
    ),
    "MFF": (
        LayerFusionDecoder,
        {"layers": [0, 1], "encoder_dim": 8, "num_layers": 1, "decoder": {"type": "TransformerDecoder", **PLAIN}}
        | {"facts": {"encoder_dim": 8, "out_dim": 4, "grid": (2, 2)}},
        {"layer_weights", "decoder.pos_embed"},
        {"decoder.mask_token"},
    ),
}


@pytest.mark.parametrize("method", LISTS)
def test_parts_say_what_is_not_decayed(method):
    cls, arguments, kept, decayed = LISTS[method]
    model = torch.nn.ModuleDict({"part": cls(**arguments)})
    names = {id(p): name.removeprefix("part.") for name, p in model.named_parameters()}
    groups = [{names[id(p)] for p in group["params"]} for group in decay_groups(model)]
    plain = {name for name in groups[1] if model["part"].get_parameter(name).ndim > 1}
    assert plain == kept
    assert decayed <= groups[0]


def test_state_saved_before_parts_named_parameters_is_moved():
    model = tiny_model(encoder={"pos_embed": "learned", "sees": "all"}, decoder={"type": "LinearDecoder"})
    before = torch.optim.AdamW(decay_groups(model, named=set()), lr=1e-3)
    for number, parameter in enumerate(p for group in before.param_groups for p in group["params"]):
        parameter.grad = torch.full_like(parameter, number + 1.0)
    before.step()
    gradients = [p.grad for group in before.param_groups for p in group["params"]]
    now = torch.optim.AdamW(decay_groups(model), lr=1.0)
    saved = in_present_groups({**before.state_dict(), "gradients": gradients}, model)
    now.load_state_dict(saved)
    assert [len(group["params"]) for group in now.param_groups] != [len(g["params"]) for g in before.param_groups]
    assert [group["lr"] for group in now.param_groups] == [1e-3, 1e-3]
    assert [group["weight_decay"] for group in now.param_groups] == [1e-2, 0.0]
    for parameter, gradient in zip((p for g in now.param_groups for p in g["params"]), saved["gradients"], strict=True):
        assert torch.equal(now.state[parameter]["exp_avg"], before.state[parameter]["exp_avg"])
        assert gradient is parameter.grad
    assert in_present_groups(now.state_dict(), model).keys() == now.state_dict().keys()


def test_a_part_of_a_plugin_names_its_parameters():
    class Part(torch.nn.Module):
        def __init__(self, names):
            super().__init__()
            self.names = names
            self.codes, self.other = (torch.nn.Parameter(torch.zeros(2, 2)) for _ in range(2))

        def no_weight_decay(self):
            return self.names

    class Holder(torch.nn.Module):
        def __init__(self, names):
            super().__init__()
            self.parts = torch.nn.ModuleList([Part(names)])

    model = Holder({"codes", "not there"})
    decayed, plain = decay_groups(model)
    assert decayed["params"][0] is model.parts[0].other
    assert plain["params"][0] is model.parts[0].codes
    with pytest.raises(UsageError, match=r"Part.no_weight_decay gives 'codes', but must be a method that returns"):
        decay_groups(Holder("codes"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "auto"])
def test_mixed_precision_trains_on_the_cpu(dtype):
    model = tiny_model()
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-2)
    wrapper = AutocastOptimWrapper(optimizer, dtype=dtype)
    wrapper.initialize_count_status(model, 0, 30)
    losses = [model.train_step(tiny_batch(), wrapper)["loss"].item() for _ in range(30)]
    assert losses[-1] < losses[0] - 0.3
    with wrapper.optim_context(model):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype is wrapper.dtype


def test_accumulation_equals_the_large_batch():
    states = []
    for accumulation, size in ((1, 8), (4, 2)):
        model = tiny_model()
        batch = tiny_batch(batch_size=8)
        wrapper = AutocastOptimWrapper(
            torch.optim.SGD(model.parameters(), lr=0.1), dtype="float32", accumulative_counts=accumulation
        )
        wrapper.initialize_count_status(model, 0, accumulation)
        for start in range(0, 8, size):
            model.train_step({name: value[start : start + size] for name, value in batch.items()}, wrapper)
        states.append(model.state_dict())
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], atol=1e-6, rtol=1e-4)


def test_wrapper_state_round_trips():
    wrapper = AutocastOptimWrapper(torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.5))
    wrapper.optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    wrapper.step()
    other = AutocastOptimWrapper(torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1))
    other.load_state_dict(wrapper.state_dict())
    assert other.get_lr() == {"lr": [0.5]}
    assert other.optimizer.state_dict()["state"][0]["step"] == 1


def test_the_norm_of_no_gradients_is_on_the_device_of_the_weights():
    wrapper = AutocastOptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(2, device="meta"))]), "float32")
    assert wrapper._norm().is_meta


class SecondOrder(torch.optim.SGD):
    is_second_order = True


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (torch.optim.LBFGS, "LBFGS needs the loss several times a step, .* use another"),
        (torch.optim.SparseAdam, "SparseAdam takes sparse gradients only"),
        (SecondOrder, "SecondOrder needs second derivatives"),
        (
            lambda p: torch.optim.AdamW(p, differentiable=True),
            "differentiable=True records .* leave differentiable out",
        ),
        (
            lambda p: torch.optim.Adam(p, capturable=True),
            "capturable=True needs an accelerator, .* leave capturable out",
        ),
    ],
)
def test_optimisers_that_cannot_make_a_step_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        AutocastOptimWrapper(make([torch.nn.Parameter(torch.zeros(2))]))


def stepped(kind, **options):
    parameters = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = getattr(torch.optim, kind)(parameters, lr=0.1, **options)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("kind", "option", "missing"),
    [("AdamW", {"amsgrad": True}, "max_exp_avg_sq"), ("RMSprop", {"centered": True}, "grad_avg")],
)
def test_options_that_need_more_than_a_checkpoint_has_are_refused(kind, option, missing):
    with pytest.raises(UsageError, match=f"The options of {kind} need {missing} of each parameter"):
        check_state(stepped(kind, **option), stepped(kind).state_dict())
    check_state(stepped(kind), stepped(kind, **option).state_dict())


@pytest.mark.parametrize("kind", ["Adafactor", "SGD", "Adagrad", "NAdam"])
def test_what_a_checkpoint_has_is_enough(kind):
    options = {"momentum": 0.9} if kind == "SGD" else {}
    state = stepped(kind).state_dict()
    check_state(stepped(kind, **options), state)
    check_state(stepped(kind, **options), {**state, "state": {1: state["state"].get(1, {})}})  # of one axis
