"""The plan of `maetool auto`: an ordinary config with a reason for each choice."""

import pytest

from maetool.auto.facts import Facts
from maetool.auto.plan import Choice, Plan
from maetool.auto.rules import Machine, candidates, first_plan, longest, schedule
from maetool.config.load import load_config
from maetool.config.prepare import prepare_run
from maetool.registry import MODELS

HOME = Machine(accelerator=False, minutes=30)


def facts(**changes):
    known = {
        **{"images": 500, "side": 64, "aspect": 1.0, "in_chans": 3, "eight_bit": True, "mean": [100.0] * 3},
        **{"std": [50.0] * 3, "between": 0.1, "contrast": 2.0, "flat": 0.0, "redundancy": 0.5, "fine": 0.1},
    }
    chans = changes.get("in_chans", 3)
    return Facts(**{**known, "copies": 0.0, "mean": [100.0] * chans, "std": [50.0] * chans, **changes})


def plan_for(tmp_path, known, task="classify", machine=HOME):
    place = {"type": "ImageFolderDataset", "root": str(tmp_path)}
    return first_plan(known, machine, task, place, "A plan.")


def read(plan, tmp_path):
    return load_config(plan.changed(*schedule(100, facts(), 0.1, 32)).write(tmp_path / "plan.py"))


def test_a_config_says_what_the_plan_says_with_the_reasons(tmp_path):
    choices = [
        Choice("model.encoder.img_size", [16, 24], "Because of this " * 20),
        Choice("model.target", {"_delete_": True, "type": "HOGTarget"}),
        Choice("val_dataloader", None),
        Choice("work_dir", 'a "b"\\c'),
    ]
    plan = Plan("maetool::mae/vit-t_shapes.py", "A plan.", choices).changed(
        Choice("model.encoder.img_size", 16, "Small")
    )
    cfg = load_config(plan.write(tmp_path / "plan.py"))
    assert cfg.model.encoder.img_size == 16
    assert cfg.model.target.to_dict() == {"type": "HOGTarget"}
    assert cfg.val_dataloader is None
    assert cfg.work_dir == 'a "b"\\c'
    text = (tmp_path / "plan.py").read_text()
    assert "# Small\n        img_size=16" in text
    assert "Because" not in text


@pytest.mark.parametrize("task", ["classify", "segment"])
@pytest.mark.parametrize(
    "known",
    [
        {"side": 1, "in_chans": 1},
        {"side": 3, "in_chans": 4, "eight_bit": False},
        {"side": 8, "images": 1, "in_chans": 1},
        {"side": 25, "aspect": 2.1},
        {"side": 300, "aspect": 0.1, "flat": 0.9},
    ],
    ids=lambda known: f"side {known['side']}",
)
def test_every_candidate_builds_for_any_size_and_channels(tmp_path, known, task):
    known = facts(**known)
    for name, plan in candidates(plan_for(tmp_path, known, task), known).items():
        cfg = read(plan, tmp_path)
        prepare_run(cfg)
        encoder = MODELS.build(cfg.model).encoder
        assert encoder.in_chans == known.in_chans, name
        assert min(encoder.img_size) <= max(2, known.side)


def test_the_plan_warns_of_images_too_small_to_gain(tmp_path):
    text = {side: plan_for(tmp_path, facts(side=side)).to_text().replace("\n        # ", " ") for side in (8, 9)}
    warned = "neither gained from pretraining"
    assert warned in text[8]
    assert warned not in text[9]


@pytest.mark.parametrize(
    ("task", "machine", "known", "ratio"),
    [
        ("classify", HOME, {}, 0.5),  # 8 x 8 patches
        ("classify", HOME, {"aspect": 2.0}, 0.75),  # 8 x 16
        ("segment", HOME, {}, 0.75),  # 16 x 16
        ("classify", Machine(True, 30), {"side": 300}, 0.75),  # 14 x 14
        ("classify", Machine(True, 30), {"side": 16}, 0.5),  # 8 x 8
    ],
)
def test_half_is_hidden_of_few_patches_and_the_published_share_of_many(tmp_path, task, machine, known, ratio):
    plan = plan_for(tmp_path, facts(**known), task, machine)
    assert plan.value("model.masker")["mask_ratio"] == ratio


def test_larger_patches_hide_the_share_of_their_own_grid(tmp_path):
    known = facts(side=128)
    *_, coarse = candidates(plan_for(tmp_path, known, "segment"), known).values()
    assert (coarse.value("model.encoder.patch_size"), coarse.value("model.masker")["mask_ratio"]) == (16, 0.5)


def test_wide_images_get_a_wide_grid(tmp_path):
    size = plan_for(tmp_path, facts(aspect=2.0)).value("model.encoder.img_size")
    assert size == [64, 128]
    assert plan_for(tmp_path, facts(aspect=0.5)).value("model.encoder.img_size") == [128, 64]


def test_the_encoder_grows_with_images_device_and_time_alone(tmp_path):
    depth = lambda known, machine: plan_for(tmp_path, known, machine=machine).value("model.encoder.depth")  # noqa: E731
    large = Machine(accelerator=True, minutes=600)
    assert [depth(facts(images=n), large) for n in (500, 50_000, 500_000)] == [4, 12, 12]
    assert depth(facts(images=500_000), HOME) == 4
    assert depth(facts(images=500_000), Machine(accelerator=True, minutes=10)) == 4


def test_plain_pixels_come_first_and_single_numbers_are_not_normalised(tmp_path):
    names = lambda known: list(candidates(plan_for(tmp_path, known), known))  # noqa: E731
    assert names(facts()) == ["plain", "normalised", "hog", "plain, patches of 16"]
    assert names(facts(side=3, in_chans=1)) == ["plain", "hog"]


def test_the_length_fits_into_the_warm_up_and_the_passes(tmp_path):
    assert longest(facts(images=10), 10) == 5000
    assert longest(facts(images=64_000), 64) == 800_000
    cfg = load_config(plan_for(tmp_path, facts()).changed(*schedule(50, facts(), 2.0, 64)).write(tmp_path / "plan.py"))
    epochs = cfg.train_cfg.max_iters / (500 // 64)
    assert cfg.param_scheduler[0].warmup_epochs == pytest.approx(0.1 * epochs, rel=1e-3)
    assert cfg.default_hooks.checkpoint.every_n_iters == 30
