"""Relative positions in windows, BEiT's and Swin's, on another grid or in another window."""

import pytest
import timm
import torch
from test_image_sizes import build, config, pretrained

import maetool
from maetool.errors import UsageError
from maetool.pretrained.initial import load_initial
from maetool.weights.write import write_checkpoint

BEIT = {"type": "TimmEncoder", "name": "beitv2_base_patch16_224", "sees": "all"}
SHARED = {**BEIT, "options": {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}}
SWIN = {"type": "SwinTransformer", "patch_size": 2, "depths": (1, 1), "num_heads": (3, 3), "window_size": 4}
VISIBLE = {
    **SWIN,
    "depths": (1, 1, 1),
    "num_heads": (3, 3, 3),
    "window_size": 8,
    "sees": "visible",
}  # grids of 8 pixels
WINDOWS = [
    (BEIT, "blocks.1.attn", (32, 64), (64, 32), (4, 8), (8, 4)),  # as many rows
    (BEIT, "blocks.0.attn", (32, 32), (48, 48), (4, 4), (6, 6)),
    (BEIT, "blocks.0.attn", (64, 64), (32, 48), (8, 8), (4, 6)),
    (SHARED, "rel_pos_bias", (16, 64), (64, 16), (2, 8), (8, 2)),
    (SWIN, "layers.1.blocks.0.attn", (16, 8), (8, 16), (4, 2), (2, 4)),  # the windows that the grid cuts
    (SWIN, "layers.1.blocks.0.attn", (8, 8), (16, 16), (2, 2), (4, 4)),
    (VISIBLE, "layers.1.blocks.0.attn", (32, 16), (16, 32), (8, 4), (4, 8)),
]


def with_windows(size, encoder, window_size=None):
    decoder = {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2}
    settings = config(size, encoder, decoder if encoder is VISIBLE else {"type": "LinearDecoder"})
    if encoder is VISIBLE:
        del settings["encoder"]["depth"]
    if encoder is SWIN:
        del settings["encoder"]["depth"]
        settings["masker"] = {"type": "AlignedMasker", "unit": 2}
        settings["encoder"]["window_size"] = window_size or SWIN["window_size"]
    return settings


def near_offsets(table, window):
    """What a table says of the offsets up to one cell, (3, 3, heads), and its rows of a class token."""
    rows, columns = (2 * side - 1 for side in window)
    cells = table[: rows * columns].unflatten(0, (rows, columns))
    row, column = rows // 2, columns // 2
    return cells[row - 1 : row + 2, column - 1 : column + 2], table[rows * columns :]


@pytest.mark.parametrize(("encoder", "part", "old", "new", "before", "after"), WINDOWS)
def test_relative_positions_keep_their_offsets(tmp_path, encoder, part, old, new, before, after):
    model, path = pretrained(tmp_path, with_windows(old, encoder))
    name = f"{part}.relative_position_bias_table"
    begun = build(with_windows(new, encoder), seed=1)
    report = load_initial(begun, path)
    grids = ["x".join(map(str, window)) for window in (before, after)]
    assert f"encoder.{name} from windows of {grids[0]} to {grids[1]}" in report.resized
    loaded = maetool.load_encoder(path, img_size=new)
    images = torch.randn(2, 3, *new)
    torch.testing.assert_close(begun.encoder(images), loaded(images), rtol=0, atol=1e-5)
    cells, others = near_offsets(model.encoder.state_dict()[name], before)
    resized, kept = near_offsets(begun.encoder.state_dict()[name], after)
    assert cells.std() > 0.05  # other offsets have other numbers
    torch.testing.assert_close(resized, cells, rtol=0, atol=1e-5)
    assert torch.equal(others, kept)


def test_another_window_size_is_resized_as_timm_does(tmp_path):
    model, path = pretrained(tmp_path, with_windows((24, 24), SWIN))
    begun = build(with_windows((24, 24), SWIN, window_size=6), seed=1)
    load_initial(begun, path)
    for own, theirs in zip(begun.encoder.layers, model.encoder.layers, strict=True):
        table = theirs.blocks[0].attn.relative_position_bias_table
        expected = timm.layers.resize_rel_pos_bias_table(table, (6, 6), (121, 3))
        torch.testing.assert_close(own.blocks[0].attn.relative_position_bias_table, expected, rtol=0, atol=1e-6)


def test_a_window_that_nothing_says(tmp_path):
    model, _ = pretrained(tmp_path, with_windows((16, 64), BEIT))
    path = tmp_path / "plain.pth"
    write_checkpoint({"state_dict": model.state_dict()}, path)
    assert load_initial(build(with_windows((16, 64), BEIT), seed=1), path).share == 1
    with pytest.raises(UsageError, match="relative positions of 45 offsets, which is no square window"):
        load_initial(build(with_windows((48, 48), BEIT)), path)
