"""What a checkpoint says of its run, of another kind than training writes: one sentence when the run is resumed."""

import pytest
import torch
from runs import make_runner, stopped_run

from maetool.errors import UsageError


@pytest.fixture(scope="module")
def saved(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    stopped_run(repository, folder, stop=3)
    return torch.load(folder / "iter_3.pth")


ODD = {
    "a history without counts": ("message_hub", "log_scalars", "train/lr", {"a": 1}),
    "a word as history": ("message_hub", "log_scalars", "train/lr", "a"),
    "a history of no axis": ("message_hub", "log_scalars", "train/lr", "history", torch.tensor(1.0)),
    "a word for whether a key is resumed": ("message_hub", "resumed_keys", "train/lr", {"a": 1}),
    "an entry that is a number": ("optimizer", "state", 3, -1),
    "a step that is a word": ("optimizer", "state", 3, "step", "\0"),
    "a step without numbers": ("optimizer", "state", 3, "step", torch.zeros(0)),
    "an average of another shape": ("optimizer", "state", 3, "exp_avg", torch.zeros(2)),
    "an average that is a tuple": ("optimizer", "state", 3, "exp_avg_sq", (1,)),
    "a list as guard": ("optimizer", "guard", [1, 2, 3]),
    "an option that is a tensor": ("optimizer", "param_groups", 0, "weight_decay", torch.zeros(3)),
}


def put(value, path, odd):
    if not path:
        return odd
    if isinstance(value, dict):
        return {key: put(part, path[1:], odd) if key == path[0] else part for key, part in value.items()}
    return [put(part, path[1:], odd) if number == path[0] else part for number, part in enumerate(value)]


@pytest.mark.parametrize("name", ODD)
def test_odd_state_is_one_sentence(repository, saved, tmp_path, name):
    *path, odd = ODD[name]
    torch.save(put(saved, path, odd), tmp_path / "c.pth")
    runner = make_runner(repository, tmp_path / "run", resume=True, options=[f"load_from={tmp_path / 'c.pth'}"])
    with pytest.raises(UsageError, match=r"c.pth|optimiser") as caught:
        runner.load_or_resume() or runner.train()
    assert "\n" not in str(caught.value)
