"""Which cases `benchmark.py step` compares, and what with."""

import platform
from pathlib import Path

import pytest
import torch

from benchmarks import peers, step
from benchmarks.step_table import reference_of
from maetool.errors import UsageError

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
    assert str(reference_of(cases(methods)[1], found)) == reference
    assert str(reference_of(cases(methods)[2], found)) == "mae vit-b float32"


def test_a_recipe_is_measured_beside_a_change_of_it(repository, monkeypatch):
    """In the same rounds. The number of a decoder's heads changes no shape of a weight."""
    measured, seconds = [], [[1.0, 2.0, 0.5]]
    answers = {"_measure": {"seconds": seconds, "memory": 1}, "_peak": 1e12, "_useful_flops": 1}

    def alone(function, *args):
        measured.extend(args[:1] if function is step._measure else [])
        return answers[function.__name__]

    monkeypatch.setattr(step, "alone", alone)
    config, wide = repository / MAE, "model.decoder.num_heads=8"
    report, figures = step.run([config], ["ours"], ["float32"], 8, False, 1, 2, also=[wide])
    assert [case.options for case in measured] == [(), (wide,)] * 3  # memory, and two rounds
    assert f"mae vit-b float32 {wide}" in report and len(figures["flops"]) == 2
    with torch.device("meta"):
        models = [step._our_model(config, options) for options in ((), (wide,))]
    assert [model.decoder.blocks[0].attn.num_heads for model in models] == [16, 8]
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in models]
    assert shapes[0] == shapes[1]
    for methods, safety in ((None, True), (["transformers"], False)):
        with pytest.raises(UsageError, match="--also changes maetool's recipes in the comparison: leave it out"):
            step.run([config], methods, ["float32"], 8, False, 1, 1, safety, [wide])


def test_a_method_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(peers, "present", lambda: ["transformers"])
    with pytest.raises(UsageError, match="--methods has 'lightly', but this environment has ours, transformers: pip"):
        cases(["ours", "lightly"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there the memory is torch's")
def test_the_report_names_what_hands_out_memory(monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert step.allocator() in {f"glibc {platform.libc_ver()[1]}", platform.system()}
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libjemalloc.so.2")
    assert step.allocator() == "libjemalloc.so.2"


def test_every_method_has_a_base_sized_recipe_mae_first(repository):
    found = [str(path.relative_to(repository / "configs")) for path in step.base_recipes()]
    assert found[0] == "mae/vit-b_400e.py"
    assert {"crossmae/vit-b_800e.py", "crossmae/vit-b-quarter_800e.py", "simmim/swin-b_100e.py"} < set(found)
    pages = {path.stem for path in (repository / "docs" / "methods").glob("*.md")} - {"README"}
    others = {"attmask", "capi", "cells", "lmd", "msn", "studies", "thorax"}  # have no recipe of this size
    others |= {"uninformative_features"}
    other_inputs = {"satmae", "mage", "videomae", "adamae", "everest"}
    assert {name.split("/")[0] for name in found} == {*pages, "mae", "colormae"} - others - other_inputs
    assert not [name for name in found if "block" in name or "blue" in name]  # other masks cost the same


@pytest.mark.parametrize("name", ["mrmae/vit-b_400e", "beitv2/vit-b_300e"])
def test_a_step_is_measured_without_the_files_of_a_teacher(repository, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    with torch.device("meta"):
        model = step._our_model(repository / f"configs/{name}.py")
    assert model.encoder.embed_dim == 768


def test_useful_operations_count_every_decoder(repository):
    """A quarter of the predicted patches needs fewer; small decoders on more layers need more than none."""
    whole, quarter = (
        step._useful_flops(repository / f"configs/crossmae/vit-b{name}_800e.py") for name in ("", "-quarter")
    )
    # Per predicted patch and block: queries, projection and hidden layer, each product forward and twice backward.
    assert whole - quarter > 98 * 12 * 10 * 512**2 * 2 * 3 * 0.9
