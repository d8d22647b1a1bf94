"""Several optimisers, each for some parts: steps, accumulation, schedules, logs, exact resume, and what is refused."""

import json
import operator
import re
from functools import reduce

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from runs import EPOCHS, assert_same, make_runner, stopped_run
from torch import nn

from maetool.config.debug import shrink
from maetool.config.load import load_config
from maetool.engine import launch
from maetool.engine.optim import AutocastOptimWrapper, AutocastOptimWrapperDict, OptimizersByPartConstructor
from maetool.engine.optim.by_part import divide
from maetool.engine.optim.loss_scaler import LossScaler
from maetool.engine.optim.wrapper import report_of
from maetool.errors import UsageError
from maetool.models import MaskedImageModel
from maetool.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from maetool.weights.read import read_checkpoint

CONFIG = "configs/adamae/vit-t-two-optimizers_moving-shapes.py"
WARM = {"type": "WarmupCosineLR", "warmup_epochs": 1, "convert_to_iter_based": True}
DECAY = {"type": "CosineAnnealingParamScheduler", "param_name": "weight_decay", "eta_min_ratio": 0.1}
MOMENTUM = {"type": "CosineAnnealingMomentum", "eta_min": 0.5}
SCHEDULES = {
    "main": [WARM, {**DECAY, "convert_to_iter_based": True}],
    "masker": [{**MOMENTUM, "convert_to_iter_based": True}, {"type": "ExponentialLR", "gamma": 0.9}],
}


class Two(nn.Module):
    """Two linear maps with losses of their own, added up."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.masker = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))

    def forward(self, x):
        return self.encoder(x).square().mean() + self.masker(x)[:, 0].mean()


def wrappers(model, shared=None, **entries):
    entries = entries or {
        "main": {"optimizer": {"type": "SGD", "lr": 0.5}},
        "masker": {"parts": "masker", "optimizer": {"type": "AdamW", "lr": 0.25}, "clip_grad": {"max_norm": 1e-3}},
    }
    cfg = {"type": AutocastOptimWrapper, "dtype": "float32", **(shared or {}), **entries}
    return OptimizersByPartConstructor(cfg)(model)


def stepped(model, wrapper, batches):
    for batch in batches:
        with wrapper.optim_context(model):
            loss = model(batch)
        wrapper.update_params(loss)
    return [p.detach().clone() for p in model.parameters()]


def batches(count):
    return torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(1))[:count]


def test_each_optimiser_moves_its_own_part_as_it_would_alone():
    both = Two()
    several = stepped(both, wrappers(both), batches(3))
    alone = Two()
    parts = [torch.optim.SGD(alone.encoder.parameters(), lr=0.5)]
    parts.append(torch.optim.AdamW([{"params": [alone.masker[0].weight]}], lr=0.25))
    plain = [alone.masker[0].bias, *alone.masker[1].parameters()]
    parts[1].add_param_group({"params": plain, "weight_decay": 0.0})
    for batch in batches(3):
        alone(batch).backward()
        torch.nn.utils.clip_grad_norm_(alone.masker.parameters(), 1e-3)
        for part in parts:
            part.step()
            part.zero_grad()
    for one, other in zip(several, alone.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_are_accumulated_for_all():
    model = Two()
    wrapper = wrappers(model, {"accumulative_counts": 2})
    wrapper.initialize_count_status(model, 0, 4)
    start = [p.detach().clone() for p in model.parameters()]
    assert_same(stepped(model, wrapper, batches(1)), start)
    state = wrapper.state_dict()
    assert all(len(one["gradients"]) > 1 for one in state.values())
    moved = stepped(model, wrapper, batches(2)[1:])
    assert not any(torch.equal(one, other) for one, other in zip(moved, start, strict=True))
    large = Two()
    whole = batches(2).flatten(0, 1)[None]
    for one, other in zip(stepped(large, wrappers(large), whole), moved, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_gradient_of_one_that_is_not_finite_stops_the_step_of_all():
    model = Two()
    wrapper = wrappers(model)
    start = [p.detach().clone() for p in model.parameters()]
    model.masker[0].weight.register_hook(lambda gradient: gradient * torch.inf)
    assert_same(stepped(model, wrapper, batches(1)), start)
    report = report_of(wrapper)
    assert (report.guard, report.skipping, report.skipped, report.dtype) == (True, True, 1, torch.float32)
    assert "gradient norm" in report.fault


def test_one_loss_scaler_serves_all():
    model = Two()
    wrapper = wrappers(model)
    scaler = LossScaler("cpu", init_scale=8.0, growth_interval=1)
    for one in wrapper.values():
        one.loss_scaler = scaler
    scaled = stepped(model, wrapper, batches(2))
    assert scaler.get_scale() == 32.0, "updated once a step"
    plain = Two()
    for one, other in zip(scaled, stepped(plain, wrappers(plain), batches(2)), strict=True):
        torch.testing.assert_close(one, other)
    model.masker.requires_grad_(False)  # an optimiser without gradients
    before = stepped(model, wrapper, batches(1))
    model.encoder.weight.register_hook(lambda gradient: gradient * torch.inf)
    assert_same(stepped(model, wrapper, batches(1)), before)
    assert scaler.get_scale() == 32.0 and report_of(wrapper).fault is None, "twice as much, and a half"


@pytest.mark.parametrize("deferred", [None, True])
def test_gradients_of_one_that_overflow_leave_out_the_step_of_all(deferred):
    model = Two()
    wrapper = wrappers(model, {"deferred": deferred})
    scaler = LossScaler("cpu", init_scale=8.0)
    for one in wrapper.values():
        one.loss_scaler = scaler
    start = [p.detach().clone() for p in model.parameters()]
    model.masker[0].weight.register_hook(lambda gradient: gradient * torch.inf)
    assert_same(stepped(model, wrapper, batches(1)), start)
    assert scaler.get_scale() == 4.0


@pytest.mark.parametrize(
    ("constructor", "paramwise"),
    [
        ("DecayGroupsConstructor", None),
        ("DefaultOptimWrapperConstructor", None),
        ("DefaultOptimWrapperConstructor", {"bias_decay_mult": 0.0}),
    ],
)
def test_every_constructor_gives_an_optimiser_its_own_parameters(constructor, paramwise):
    model = Two()
    model.masker[0].bias.requires_grad_(False)
    own = {
        "optimizer": {"type": "SGD", "lr": 0.1, "weight_decay": 0.1},
        "constructor": constructor,
        "paramwise_cfg": paramwise,
    }
    wrapper = wrappers(model, encoder={**own, "parts": ["encoder.weight", "encoder.bias"]}, rest=own)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = {key: {names[id(p)] for p in one.parameters} for key, one in wrapper.items()}
    assert held["encoder"] == {"encoder.weight", "encoder.bias"}
    assert held["rest"] == {"masker.0.weight", "masker.1.weight", "masker.1.bias"}
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["masker.0.bias"]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"a": "maskers", "b": None}, "trains nothing of that name: it has encoder, masker"),
        ({"a": "mask", "b": None}, "a.parts has 'mask', but the model trains nothing"),
        ({"a": "masker", "b": "masker.0", "c": None}, "masker.0.weight belongs to two optimisers, a and b"),
        ({"a": "masker"}, "encoder.weight and 1 more belong to no optimiser"),
        ({"a": None, "b": None, "c": "masker"}, "a and b have no `parts`"),
        ({"a": None, "b": ["masker", "encoder"]}, "the others leave it nothing"),
        ({"a": 3, "b": None}, "a.parts is 3, but must be the name"),
        ({"a": [], "b": None}, "a.parts is [], but must be the name"),
        ({"a": [1], "b": None}, "a.parts is [1], but must be the name"),
    ],
)
def test_parameters_of_no_or_of_two_optimisers_are_refused(parts, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        divide(Two(), parts)


def test_a_wrapper_that_steps_alone_is_refused():
    parameters = Two().parameters()
    with pytest.raises(UsageError, match="the wrapper OptimWrapper"):
        AutocastOptimWrapperDict({"a": OptimWrapper(torch.optim.SGD(parameters, lr=0.1))})
    assert AutocastOptimWrapper(torch.optim.SGD(Two().parameters(), lr=0.1)).prefix == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optim_wrapper.constructor": "DecayGroupsConstructor"}, "names the optimisers main, masker, but Decay"),
        ({"optim_wrapper.constructor": None}, "names the optimisers main, masker, but Default"),
        ({"optim_wrapper.optimizer": {"type": "SGD", "lr": 1.0}}, "has `optimizer` beside names of optimisers"),
        ({"optim_wrapper.masker.dtype": "float32"}, "write it once, as optim_wrapper.dtype"),
        ({"optim_wrapper.masker.part": "masker"}, "no argument `part`"),
        ({"optim_wrapper.masker.optimizer": "SGD"}, "optim_wrapper.masker.optimizer is 'SGD'"),
        ({"optim_wrapper.masker.optimizer.momentun": 0.1}, "momentun"),
        ({"optim_wrapper.masker.optimizer.type": "Adma"}, "Adma"),
        ({"optim_wrapper.masker.parts": "mask"}, "trains nothing of that name"),
        ({"optim_wrapper.masker.clip_grad": {"max_norm": -1}}, "clip_grad"),
        ({"optim_wrapper.more": {"parts": "head"}}, "optim_wrapper.more has no optimizer"),
        ({"optim_wrapper.masker.constructor": "Decay"}, "Decay"),
        ({"optim_wrapper.type": "OptimWrapper", "optim_wrapper.dtype": None}, "AutocastOptimWrapper"),
        ({"optim_wrapper.main.optimizer.lr": 0.1}, "set only one of them"),
        (
            {"param_scheduler": {"main": [], "mask": []}},
            "schedules of main, mask, but optim_wrapper has the optimisers",
        ),
        ({"param_scheduler": {"main": []}}, "schedules of main, but optim_wrapper has the optimisers main, masker"),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_sentence(repository, tmp_path, changes, sentence):
    cfg = load_config(repository / CONFIG)
    shrink(cfg)
    for key, value in changes.items():
        *place, last = key.split(".")
        section = reduce(operator.getitem, place, cfg)
        if value is None:
            del section[last]
        else:
            section[last] = value
    cfg.work_dir = str(tmp_path)
    with pytest.raises(UsageError, match=re.escape(sentence)) as caught:
        launch.build_runner(cfg).train()
    assert "\n" not in str(caught.value)


def test_schedules_by_name_need_optimisers_by_name(repository, tmp_path):
    with pytest.raises(UsageError, match="one optimiser without a name"):
        make_runner(repository, tmp_path, sections={"param_scheduler": {"main": [], "masker": []}})


SETTINGS = {
    "as in the config": {},
    "accumulated": {"options": ["optim_wrapper.accumulative_counts=3"]},
    "schedules of each": {"sections": {"param_scheduler": SCHEDULES}},
    "one list for all": {"sections": {"param_scheduler": [WARM]}},
    "layer decay": {
        "options": [
            "optim_wrapper.main.constructor=LayerDecayConstructor",
            "optim_wrapper.main.paramwise_cfg.layer_decay=0.5",
        ]
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_resume_is_exact(repository, tmp_path, name):
    settings = {"config": CONFIG, **SETTINGS[name]}
    settings["options"] = ["val_dataloader=None", *settings.get("options", ())]
    runner = make_runner(repository, tmp_path / "unbroken", every=0, **settings)
    before = {key: value.clone() for key, value in runner.bare_model.state_dict().items()}
    runner.train()
    moved = [key for key, value in runner.bare_model.state_dict().items() if not torch.equal(value, before[key])]
    assert {"encoder", "decoder", "masker"} <= {key.split(".")[0] for key in moved}
    stopped_run(repository, tmp_path / "broken", **settings)
    make_runner(repository, tmp_path / "broken", resume=True, **settings).train()
    whole, again = (read_checkpoint(tmp_path / kind / f"epoch_{EPOCHS}.pth") for kind in ("unbroken", "broken"))
    for key in ("state_dict", "optimizer", "param_schedulers"):
        assert_same(again[key], whole[key])
    if name == "layer decay":
        assert len({group["lr_scale"] for group in whole["optimizer"]["main"]["param_groups"]}) > 2


def test_logs_name_the_rates_and_norms_of_both(repository, tmp_path):
    runner = make_runner(repository, tmp_path, config=CONFIG, options=["default_hooks.logger.interval=1"])
    runner.train()
    lines = [json.loads(line) for line in next(tmp_path.glob("*/vis_data/scalars.json")).read_text().splitlines()]
    logged = next(line for line in lines if line.get("step") == 3)
    assert logged["masker.lr"] == 1e-4 != logged["main.lr"]
    assert 0 < logged["masker.grad_norm"] != logged["main.grad_norm"] > 0
    text = next(tmp_path.glob("*/*.log")).read_text()
    assert re.search(r"\| lr main \d\.\d\de-0\d, masker 1\.00e-04 \| grad norm main [^,]+, masker [^ ]+ \|", text)


def test_one_optimiser_becomes_two_only_in_a_new_run(repository, tmp_path):
    one = "configs/adamae/vit-t_moving-shapes.py"
    stopped_run(repository, tmp_path / "one", config=one, stop=5)
    with pytest.raises(UsageError, match="resume with the o"):
        make_runner(repository, tmp_path / "one", resume=True, config=CONFIG).train()
    stopped_run(repository, tmp_path / "two", config=CONFIG, stop=5)
    with pytest.raises(UsageError, match="resume with the o"):
        make_runner(repository, tmp_path / "two", resume=True, config=one).train()
    options = ["optim_wrapper.masker.optimizer.type=SGD", "optim_wrapper.masker.optimizer.fused=False"]
    with pytest.raises(UsageError, match=re.escape("optim_wrapper.masker.optimizer.type=AdamW")):
        make_runner(repository, tmp_path / "two", resume=True, config=CONFIG, options=options).train()


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class EncoderAndDecoder:
    """A constructor as users of MMEngine write it."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        self.cfg = optim_wrapper_cfg

    def __call__(self, model):
        parts = {"encoder": model.encoder, "decoder": model.decoder}
        rates = {name: self.cfg[name]["optimizer"]["lr"] for name in parts}
        built = {name: torch.optim.SGD(part.parameters(), lr=rates[name], momentum=0.9) for name, part in parts.items()}
        return OptimWrapperDict(**{name: OptimWrapper(optimizer) for name, optimizer in built.items()})


@MODELS.register_module()
class AlternatingModel(MaskedImageModel):
    """Moves the decoder, then the encoder, each by a loss of its own, in its own `train_step`."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        for name in ("decoder", "encoder"):
            losses = self(**data, mode="loss")
            optim_wrapper.zero_grad()
            optim_wrapper[name].update_params(losses["loss"])
        return {"loss": losses["loss"].detach()}


def test_a_train_step_and_a_constructor_of_ones_own(repository, tmp_path):
    rates = {name: {"optimizer": {"type": "SGD", "lr": rate}} for name, rate in (("encoder", 0.01), ("decoder", 0.1))}
    sections = {"optim_wrapper": {"constructor": "EncoderAndDecoder", **rates}, "base_lr": None}
    sections["param_scheduler"] = {"encoder": [WARM], "decoder": []}
    settings = {"sections": sections, "options": ["model.type=AlternatingModel"]}
    make_runner(repository, tmp_path / "unbroken", every=0, **settings).train()
    stopped_run(repository, tmp_path / "broken", **settings)
    make_runner(repository, tmp_path / "broken", resume=True, **settings).train()
    whole, again = (read_checkpoint(tmp_path / kind / f"epoch_{EPOCHS}.pth") for kind in ("unbroken", "broken"))
    for key in ("state_dict", "optimizer", "param_schedulers"):
        assert_same(again[key], whole[key])
    assert whole["optimizer"]["encoder"]["param_groups"][0]["initial_lr"] == 0.01
    assert whole["optimizer"]["decoder"]["param_groups"][0]["lr"] == 0.1
