"""Windows and relative positions: equal to timm's ViT where they change nothing, and to the formulas where they do."""

import pytest
import timm
import torch

from maetool.encoders import WindowedTransformer
from maetool.encoders.windowed import MapAttention
from maetool.errors import UsageError
from maetool.ops.pos_embed import relative_positions
from maetool.ops.windows import from_windows, to_windows

SMALL = {"img_size": (24, 40), "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}


def small(**options):
    torch.manual_seed(0)
    return WindowedTransformer(**{**SMALL, "window_size": 2, "global_blocks": [1], **options}).eval()


@pytest.mark.parametrize("global_blocks", [[], [0, 2]])
def test_windows_over_the_whole_image_equal_timm(global_blocks):
    encoder = small(img_size=32, window_size=4, global_blocks=global_blocks)
    options = {name: SMALL[name] for name in ("patch_size", "embed_dim", "depth", "num_heads")}
    vit = timm.models.VisionTransformer(img_size=32, class_token=False, num_classes=0, global_pool="", **options).eval()
    found = vit.load_state_dict(encoder.state_dict(), strict=False)
    assert not found.missing_keys
    assert len(found.unexpected_keys) == 6
    assert all(".attn.rel_pos_" in name for name in found.unexpected_keys)
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(encoder(images), vit.forward_features(images), atol=1e-5)


def test_scores_get_the_products_with_the_distances():
    torch.manual_seed(0)
    attn, (height, width) = MapAttention(12, 2, (3, 4)), (3, 4)
    torch.nn.init.normal_(attn.rel_pos_h)
    torch.nn.init.normal_(attn.rel_pos_w)
    x = torch.randn(2, height, width, 12)
    q, k, v = attn._heads(attn.qkv(x.flatten(1, 2)), 3)
    scores = q @ k.transpose(2, 3) * 6**-0.5
    places = [(row, column) for row in range(height) for column in range(width)]
    for i, (row, column) in enumerate(places):
        for j, (other_row, other_column) in enumerate(places):
            vector = attn.rel_pos_h[row - other_row + height - 1] + attn.rel_pos_w[column - other_column + width - 1]
            scores[:, :, i, j] += q[:, :, i] @ vector
    expected = attn.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)).unflatten(1, (height, width))
    assert torch.allclose(attn(x), expected, atol=1e-5)
    loss = attn(x).square().sum()
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in attn.parameters())


def test_relative_positions_of_another_side():
    table = torch.arange(5.0)[:, None]  # for 3 cells: the distance of query and key, plus 2
    assert relative_positions(table, 3)[..., 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    resized = relative_positions(table, 5)[..., 0]  # 9 numbers
    assert resized.shape == (5, 5)
    assert torch.equal(resized.diagonal(), torch.full((5,), 2.0))
    assert (resized[4].diff() < 0).all()


@pytest.mark.parametrize("grid", [(4, 6), (5, 3), (1, 1), (2, 7)])
def test_windows_and_back(grid):
    x = torch.randn(2, *grid, 3)
    windows = to_windows(x, 2)
    assert windows.shape == (2 * -(-grid[0] // 2) * -(-grid[1] // 2), 2, 2, 3)
    assert torch.equal(from_windows(windows, grid), x)
    assert torch.equal(windows[0, 0, 0], x[0, 0, 0])


def test_a_windowed_block_sees_its_window_only():
    encoder = small(img_size=32, depth=1, global_blocks=[])
    images = torch.randn(1, 3, 32, 32)
    changed = images.clone()
    changed[..., :8, :8] = 5.0  # one patch of the first window
    same = (encoder(images) == encoder(changed)).all(dim=2).view(4, 4)
    assert not same[:2, :2].any()
    assert same[2:].all()
    assert same[:, 2:].all()


def test_other_sizes_and_fixed_positions():
    for options in ({}, {"pos_embed": "sincos"}, {"rel_pos": False}):
        encoder = small(**options)
        assert encoder(torch.randn(1, 3, 48, 16)).shape == (1, 12, 24)


@pytest.mark.parametrize("options", [{"window_size": 0}, {"global_blocks": [3]}, {"sees": "visible"}])
def test_what_there_is_not_is_named(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        small(**options)
