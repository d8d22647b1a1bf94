"""The operations of a step are counted without computing any, and give the share of a known device's peak."""

import pytest
from runs import make_runner
from test_guard import QUICK
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from maetool.models.operations import operations_per_sample
from maetool.parallel.blocks import checkpoint_blocks
from maetool.testing import tiny_batch, tiny_model


@pytest.mark.parametrize("recomputed", [False, True])
def test_operations_are_those_of_a_real_step(recomputed):
    model, batch = tiny_model().train(), tiny_batch()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(**model.data_preprocessor(batch, True), mode="loss")["loss"].backward()
    if recomputed:
        checkpoint_blocks(model)
    assert operations_per_sample(model, batch) == counter.get_total_flops() / 4
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_what_does_not_count():
    assert operations_per_sample(tiny_model(masker={"type": "GivenMasker"}), tiny_batch()) is None  # no masks


def test_the_share_is_in_every_report(repository, tmp_path, monkeypatch):
    for place in ("hooks.log", "log_processor"):
        monkeypatch.setattr(f"maetool.engine.{place}.present_peak", lambda: 1e12)
    runner = make_runner(repository, tmp_path, options=QUICK)
    runner.train()
    assert runner.log_processor.operations > 1e6
    assert "% of the device's peak), " in next(tmp_path.glob("*/*.log")).read_text()
