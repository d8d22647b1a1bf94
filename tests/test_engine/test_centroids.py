"""Tokenizer files, from the commands that make them to a training that takes them."""

import pytest
import torch
from runs import make_runner
from warm import run_warm

from maetool.config.load import load_config
from maetool.engine.centroids import fit_centroids
from maetool.errors import UsageError
from maetool.weights.read import read_checkpoint

CONFIG = "configs/ccvit/vit-t_shapes.py"
SMALL = ["train_dataloader.dataset.num_samples=40"]


def test_the_tool_writes_what_the_config_takes(repository, tmp_path):
    out = tmp_path / "tokens" / "centroids.pth"
    command = ["tools/fit_centroids.py", CONFIG, "--out", out, "--centroids", "12", "--patches", "20"]
    done = run_warm([*command, "--cfg-options", *SMALL], repository)
    assert done.returncode == 0, done.stderr
    assert "240 patches of 48 numbers." in done.stdout
    assert f"{out}: 12 centroids of 48 numbers." in done.stdout
    runner = make_runner(repository, tmp_path / "run", config=CONFIG, options=[f"model.target.codebook={out}"])
    assert runner.bare_model.target.out_dim == 12
    assert torch.equal(runner.bare_model.target.codebook, read_checkpoint(out)["state_dict"]["codebook"])
    runner.train()
    assert read_checkpoint(tmp_path / "run" / "epoch_3.pth")["state_dict"]["target.codebook"].shape == (12, 48)


def test_centroids_are_always_the_same_and_bad_input_is_told(repository):
    found = fit_centroids(load_config(repository / CONFIG, SMALL), 30, patches=80)
    assert torch.equal(found, fit_centroids(load_config(repository / CONFIG, SMALL), 30, patches=80))
    assert fit_centroids(load_config(repository / CONFIG, SMALL), 2, patches=1280).shape == (2, 48)  # every patch
    with pytest.raises(UsageError, match=r"has 2,560 patches: ask for fewer centroids than 3,000"):
        fit_centroids(load_config(repository / CONFIG, SMALL), 3000)
    with pytest.raises(UsageError, match="HOGTarget needs no centroids"):
        fit_centroids(load_config(repository / "configs/maskfeat/vit-t_shapes.py"), 10)


def test_a_published_tokenizer_is_converted(repository, tmp_path):
    names = {"encoder.fc_norm.weight": (4,), "encode_task_layer.2.weight": (2, 4), "decoder.norm.weight": (4,)}
    state = {name: torch.randn(shape) for name, shape in names.items()}
    torch.save({"model": {**state, "quantize.embedding.weight": torch.randn(6, 2)}}, tmp_path / "theirs.pth")
    command = ["tools/convert_tokenizer.py", tmp_path / "theirs.pth", "--out", tmp_path / "ours.pth"]
    done = run_warm(command, repository)
    assert done.returncode == 0, done.stderr
    assert "3 tensors, 6 codes of 2 numbers" in done.stdout
    assert set(read_checkpoint(tmp_path / "ours.pth")["state_dict"]) == {
        "encoder.norm.weight",
        "projection.2.weight",
        "codebook",
    }
