"""However configs are written, training sees what it saw before: tests/resolved_configs.py says how to look."""

import pytest
from resolved_configs import LEAVES, differences, read, resolve

STORED = read()


@pytest.mark.parametrize("name", LEAVES)
def test_training_sees_what_is_stored(name):
    assert name in STORED, "a new config: PYTHONPATH=. python tests/resolved_configs.py --write stores it"
    assert differences(STORED[name], resolve(name)) == []


def test_nothing_is_stored_of_configs_that_are_gone():
    assert STORED.keys() == set(LEAVES)


def test_a_difference_is_told_by_its_key():
    options = ["model.encoder.depth=3", "optim_wrapper.optimizer.betas=(0.9,0.99)", "param_scheduler.0.min_lr=1"]
    options += ["custom_hooks=[]", "compile=True"]
    told = differences(STORED["mae/vit-t_shapes.py"], resolve("mae/vit-t_shapes.py", options))
    assert "model.encoder.depth: 4 -> 3" in told
    assert "optim_wrapper.optimizer.betas.tuple.1: 0.95 -> 0.99" in told
    assert "param_scheduler.0.min_lr: 0.0 -> 1" in told
    assert "compile: '(absent)' -> True" in told
    assert {line.split(".")[0] for line in told} >= {"model", "optim_wrapper", "param_scheduler", "custom_hooks"}


def test_the_order_of_tasks_is_seen():
    tasks = {"a": {"weight": 1}, "b": {"weight": 2}}
    turned = dict(reversed(tasks.items()))
    assert differences({"model": {"tasks": tasks}}, {"model": {"tasks": turned}}) == [
        "model.tasks: the order ['a', 'b'] -> ['b', 'a']"
    ]
