"""On accelerators queries and keys of relative positions are as wide as their kernels of attention want."""

import torch

from maetool.encoders.windowed import MapAttention


def test_padded_queries_and_keys_give_the_same(monkeypatch):
    torch.manual_seed(0)
    attn = MapAttention(24, 2, (3, 5))
    torch.nn.init.normal_(attn.rel_pos_h)
    torch.nn.init.normal_(attn.rel_pos_w)
    x, widths = torch.randn(2, 3, 5, 24), []
    expected = attn(x)
    placed = attn._placed
    monkeypatch.setattr("maetool.encoders.windowed.reading_is_free", lambda x: False)
    monkeypatch.setattr(
        attn, "_placed", lambda *args: widths.extend(t.shape[3] for t in placed(*args)) or placed(*args)
    )
    torch.testing.assert_close(attn(x), expected)
    assert widths == [24, 24]  # 12 of the head, 3 rows, 5 columns, and 4 of zeros
