"""Two processes on CPUs make the masks, crops and weights that one makes with the whole batch."""

import os
import subprocess
import sys

import torch

from maetool.engine.checkpoint import read_checkpoint

SCRIPT = """
import sys
from maetool.cli import run
from maetool.engine import launch
from maetool.engine.config import load_config
from maetool.engine.debug import shrink

def main():
    config, work_dir, launcher, batch = sys.argv[1:5]
    cfg = load_config(config)
    shrink(cfg)
    cfg.work_dir, cfg.launcher, cfg.train_dataloader.batch_size = work_dir, launcher, int(batch)
    cfg.optim_wrapper.optimizer.type, cfg.base_lr = "SGD", 1.0
    for name in ("betas", "eps", "fused", "weight_decay"):
        cfg.optim_wrapper.optimizer.pop(name)
    launch.build_runner(cfg).train()

run(main)
"""


def launch(repository, tmp_path, processes, batch):
    script, work_dir = tmp_path / "run.py", tmp_path / f"run_{processes}"
    script.write_text(SCRIPT)
    config = repository / "configs/mae/vit-t_shapes.py"
    launcher, start = "none", [sys.executable]
    if processes > 1:
        launcher, start = "pytorch", [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        start += ["--nproc_per_node", str(processes)]
    command = [*start, str(script), str(config), str(work_dir), launcher, str(batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    return read_checkpoint(work_dir / "epoch_2.pth"), result.stdout + result.stderr


def test_two_processes_equal_one(repository, tmp_path):
    one, _ = launch(repository, tmp_path, 1, 4)
    two, output = launch(repository, tmp_path, 2, 2)
    assert "2 process(es) x 2 images" in output
    assert one["meta"]["iter"] == two["meta"]["iter"] == 4
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(value, two["state_dict"][name], atol=1e-6, rtol=1e-5)
