"""Reading an encoder with and without a checksum, measured in turn."""

from benchmarks import reading
from maetool.weights.checksums import differs


def test_both_files_are_read_in_turn(monkeypatch):
    stored = []
    monkeypatch.setattr(
        "maetool.weights.stored.differs", lambda text, *rest: stored.append(text) or differs(text, *rest)
    )
    report, figures = reading.run(3, depth=1, embed_dim=32, num_heads=2)
    assert [len(seconds) for seconds in figures["seconds"].values()] == [3] * 4
    assert [text is not None for text in stored] == [True, False] * 2 + [False, True] * 2 + [True, False] * 2
    assert "read_checkpoint" in report and "load_encoder" in report
