"""The averaged encoder in a run: it moves with the steps, and goes on exactly."""

import pytest
import torch
from runs import EPOCHS, assert_same, final_state, make_runner, stopped_run

from maetool.engine.checkpoint import read_checkpoint
from maetool.errors import UsageError

AVERAGED = """
_base_ = "{}"
model = dict(target=dict(_delete_=True, type="MomentumFeatureTarget", momentum=0.99))
"""
NAME = "target.teacher.blocks.0.mlp.fc1.weight"


@pytest.fixture
def config(repository, tmp_path):
    """The tiny MaskDistill with the averaged encoder as its teacher."""
    path = tmp_path / "averaged.py"
    path.write_text(AVERAGED.format(repository / "configs/maskdistill/vit-t_shapes.py"))
    return path


def test_a_stopped_run_ends_with_the_same_teacher(repository, tmp_path, config):
    options = ["effective_batch_size=12", "model.encoder.drop_path_rate=0.5"]  # stopped in the middle of a step
    make_runner(repository, tmp_path / "unbroken", config=config, options=options).train()
    stopped_run(repository, tmp_path / "broken", config=config, options=options)
    make_runner(repository, tmp_path / "broken", resume=True, config=config, options=options).train()
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    weights = final_state(tmp_path / "unbroken")[0]
    assert not torch.equal(weights[NAME], weights[NAME.replace("target.teacher", "encoder")])


def test_the_teacher_moves_only_with_the_steps(repository, tmp_path, config):
    options = ["effective_batch_size=16", "default_hooks.checkpoint.keep=20"]  # four iterations make a step
    make_runner(repository, tmp_path, config=config, options=options).train()
    teacher = [read_checkpoint(tmp_path / f"iter_{i}.pth")["state_dict"][NAME] for i in (5, 7, 9, 11)]
    assert torch.equal(teacher[0], teacher[1])  # the second step is made after the eighth
    assert not torch.equal(teacher[1], teacher[2])
    assert torch.equal(teacher[2], teacher[3])


def test_the_schedule_of_the_average_by_hand(repository, tmp_path, config):
    options = ["default_hooks.checkpoint.keep=20", "model.target.momentum=0.5"]
    runner = make_runner(repository, tmp_path, config=config, options=options)
    wanted = runner.bare_model.state_dict()[NAME].clone()
    runner.train()
    total = 4 * EPOCHS
    for iteration in range(total):
        path = tmp_path / (f"epoch_{EPOCHS}.pth" if iteration + 1 == total else f"iter_{iteration + 1}.pth")
        weights = read_checkpoint(path)["state_dict"]
        moved = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * iteration / total))) / 2
        wanted = wanted + moved * (weights[NAME.replace("target.teacher", "encoder")] - wanted)
        assert torch.allclose(weights[NAME], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "options", "sentence"),
    [
        (
            "configs/maskfeat/vit-t_shapes.py",
            ["custom_hooks.0.type=ReconstructionHook"],
            "HOGTarget cannot be turned back into",
        ),
        ("configs/dbot/vit-t_shapes.py", ["model.target.teacher.patch_size=8"], "teacher has patches of 8x8 pixels"),
        ("configs/dbot/vit-t_shapes.py", ["model.target.checkpoint=no.pth"], "There is no checkpoint no.pth"),
        ("configs/dbot/vit-t_shapes.py", ["model.target.layers=[5]"], r"layers is \[5\], but an encoder of 2 blocks"),
        ("configs/dbot/vit-t_shapes.py", ["model.target.teacher.typ=Vit"], "no argument `typ`"),
        ("configs/ccvit/vit-t_shapes.py", ["model.target.codebook=no.pth"], "There is no tokenizer file no.pth"),
        ("configs/ccvit/vit-t_shapes.py", ["model.target.source.type=PixlTarget"], "did you mean `PixelTarget`"),
        ("configs/ccvit/vit-t_shapes.py", ["model.head.type=RegressionHead"], "TokenTarget gives tokens"),
        (
            "configs/mrmae/vit-t_shapes.py",
            ["model.tasks.mimic.at=planned"],
            "VisibleDecoder is for visible patches only",
        ),
    ],
)
def test_bad_input_is_told_before_training(repository, tmp_path, config, options, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        make_runner(repository, tmp_path, config=config, options=options)
    assert "\n" not in str(info.value)
