"""Where `benchmark.py operations` sees the time of a step."""

import pytest

from benchmarks.operations import _REST, kind_of, run


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::mm", "products of linear maps"),
        ("aten::addmm", "products of linear maps"),
        ("mkldnn::_linear_pointwise", "products of linear maps"),
        ("aten::baddbmm", "products of attention"),
        ("aten::_softmax_backward_data", "softmax"),
        ("aten::_fused_adamw_", "optimiser"),
        ("aten::copy_", "casts, copies, gathering"),
        ("aten::sum", _REST),
    ],
)
def test_kinds(operation, kind):
    assert kind_of(operation) == kind


def test_a_tiny_step_is_taken_apart(repository):
    report, found = run([repository / "configs/mae/vit-t_shapes.py"], ["float32"], 2, 1)
    (seconds,) = found["mae vit-t float32"]
    assert seconds["products of linear maps"] > 0 and seconds["optimiser"] > 0 and "products of attention" in report
    assert sum(seconds.values()) < 10
