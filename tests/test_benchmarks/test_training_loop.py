"""What `benchmark.py train` measures; never how fast it is."""

import pytest

from benchmarks import train


def test_the_loop_of_a_recipe_is_timed_as_it_is_run(repository, monkeypatch):
    monkeypatch.setattr(train, "present_peak", lambda: 1e12)
    options = ["train_dataloader.batch_size=4", "train_dataloader.num_workers=0", "model.encoder.depth=1"]
    report, figures = train.run(repository / "configs/mae/vit-t_shapes.py", None, options, steps=2, rounds=1)
    (found,) = figures["rounds"]
    assert found["batch_size"] == 4
    assert len(found["seconds"]) == 2
    assert 0 < found["waiting_share"] < 1
    assert "1 rounds of 2 steps of 4 images" in report and report.endswith("% of the device's peak.")
    assert 0 < found["share_of_peak"] < 1


def test_rate_and_share_of_waiting_leave_three_steps_out(monkeypatch):
    clock = train._Clock()
    clock.ready, clock.done = [5.0, 6.0, 7.0, 9.0, 14.0], [5.5, 6.5, 8.0, 11.0, 18.0]
    found = train._shares(clock, batch=8)
    assert found["images_per_second"] == pytest.approx(8 * 2 / 10)
    assert found["waiting_share"] == pytest.approx((1 + 3) / 10)
    assert found["seconds"] == [3.0, 10.0] and found["share_of_peak"] is None
    monkeypatch.setattr(train, "present_peak", lambda: 32.0)
    clock.operations = 10.0
    assert train._shares(clock, batch=8)["share_of_peak"] == pytest.approx(1.6 * 10 / 32)
