"""The tokens of Pang-Yatian/Point-MAE (tests/data/README.md)."""

import torch
from golden import close, load, load_all

from maetool.stems import PointStem


def test_tokens_and_where_they_lie(data_dir):
    golden, state = load(data_dir, "point_mae")
    stem = PointStem(8, embed_dim=48, widths=(16, 24, 48))
    prefix = "MAE_encoder.encoder."
    load_all(stem, {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)})
    centres = golden["centers"][:, :, None]
    groups = torch.cat([centres, golden["groups"] + centres], dim=2)
    layout = stem.layout_of(groups)
    assert layout.grid == (8,) and torch.equal(layout.coords, golden["centers"]) and layout.valid is None
    close(stem.train()(groups), golden["tokens"])
