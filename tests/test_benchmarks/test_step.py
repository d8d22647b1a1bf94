"""Which cases `benchmark.py step` compares, and what with."""

from pathlib import Path

import pytest

from maetool.benchmarks import peers, step

MAE, CROSS, SWIN = (
    Path(f"configs/{name}.py") for name in ("mae/vit-b_800e", "crossmae/vit-b_800e", "simmim/swin-b_800e")
)


def cases(methods):
    return [step.Case(method, config, "float32", 8) for method, config in step._pairs([MAE, CROSS, SWIN], methods)]


def test_peers_are_measured_once_for_each_size_that_they_have(monkeypatch):
    monkeypatch.setattr(peers, "present", lambda: ["transformers"])
    assert list(map(str, cases(None))) == [
        "mae vit-b float32",
        "crossmae vit-b float32",
        "simmim swin-b float32",
        "transformers vit-b float32",
    ]


@pytest.mark.parametrize(
    ("methods", "reference"), [(["ours"], "mae vit-b float32"), (None, "transformers vit-b float32")]
)
def test_ratios_are_to_a_peer_or_to_the_first_recipe(monkeypatch, methods, reference):
    monkeypatch.setattr(peers, "present", lambda: ["transformers"])
    found = dict.fromkeys(cases(methods))
    assert str(step._reference(cases(methods)[1], found)) == reference
    assert str(step._reference(cases(methods)[2], found)) == "mae vit-b float32"


def test_useful_operations_count_every_decoder(repository):
    """A quarter of the predicted patches needs fewer; small decoders on more layers need more than none."""
    whole, quarter = (
        step._useful_flops(repository / f"configs/crossmae/vit-b{name}_800e.py") for name in ("", "-quarter")
    )
    # Per predicted patch and block: queries, projection and hidden layer, each product forward and twice backward.
    assert whole - quarter > 98 * 12 * 10 * 512**2 * 2 * 3 * 0.9
