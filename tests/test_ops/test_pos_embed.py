"""Tables of positions on another grid, and that nothing keeps a tensor for later calls."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.ops.patches import unravel
from maetool.ops.pos_embed import (
    fit_pos_embed,
    flat_pos_embed,
    grid_of_table,
    positions_on,
    resize_pos_embed,
    sincos_pos_embed,
)

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 1, "num_heads": 3}


def test_on_its_own_grid_a_table_is_itself():
    table = sincos_pos_embed(24, (3, 5), 1)
    assert positions_on(table, (3, 5), (3, 5), 1) is table


@pytest.mark.parametrize(("own", "grid"), [((4, 4), (6, 6)), ((4, 4), (8, 8)), ((5, 6), (6, 10)), ((8, 4), (4, 8))])
def test_a_cell_keeps_its_place_in_the_image(own, grid):
    """On a table that counts rows and columns, cell i of n lies at (i + 0.5) * n0 / n - 0.5, away from the border.

    To a tenth of a cell: the cubic of torch and of the published code does not reproduce straight lines exactly.
    """
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in own)
    table = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)[None]  # (1, L, 2)
    resized = positions_on(table, own, grid).unflatten(1, grid)[0]  # (h, w, 2)
    for axis, (old, new) in enumerate(zip(own, grid, strict=True)):
        expected = (torch.arange(new) + 0.5) * old / new - 0.5
        inside = (expected >= 1) & (expected <= old - 2)
        middle = resized.select(1 - axis, grid[1 - axis] // 2)[:, axis]
        assert inside.any()
        torch.testing.assert_close(middle[inside], expected[inside], atol=0.1, rtol=0)


def test_fixed_tables_are_resized_and_not_those_of_a_larger_world():
    table = sincos_pos_embed(24, (4, 4), 1)
    assert torch.equal(positions_on(table, (4, 4), (6, 6), 1), resize_pos_embed(table, (4, 4), (6, 6), 1))
    assert not torch.allclose(positions_on(table, (4, 4), (6, 6), 1), sincos_pos_embed(24, (6, 6), 1), atol=0.5)


def test_only_the_fixed_table_of_a_grid_is_taken_for_one():
    for grid in ((4, 4), (2, 8), (3, 5)):
        table = sincos_pos_embed(24, grid, 1)
        assert grid_of_table(table.half(), 1) == grid
        assert grid_of_table(resize_pos_embed(table, grid, (6, 6), 1), 1) is None
    assert grid_of_table(torch.randn(1, 17, 24), 1) is None
    assert grid_of_table(sincos_pos_embed(24, (4, 4)), 1) is None


def test_rows_in_front_of_a_files_table():
    table = torch.randn(1, 3 + 4, 8)
    assert torch.equal(fit_pos_embed(table, (2, 2), (2, 2), 3), table)
    assert torch.equal(fit_pos_embed(table, (2, 2), (2, 2), 1), torch.cat([table[:, :1], table[:, 3:]], dim=1))
    padded = fit_pos_embed(table, (2, 2), (2, 2), 4)
    assert padded.shape == (1, 8, 8)
    assert padded[:, 3].count_nonzero() == 0


def exported(images):
    torch.export.export(VisionTransformer(**SIZES).eval(), (images,))


def faked(images):
    with FakeTensorMode() as mode:
        assert isinstance(VisionTransformer(**SIZES)(mode.from_tensor(images)), FakeTensor)
        VisionTransformer(**{**SIZES, "img_size": images.shape[2]})


def on_meta(images):
    with torch.device("meta"):
        assert VisionTransformer(**SIZES)(images.to("meta")).is_meta
        assert VisionTransformer(**{**SIZES, "img_size": images.shape[2]}).pos_embed.is_meta


@torch.inference_mode()
def without_gradients(images):
    VisionTransformer(**SIZES)(images)
    VisionTransformer(**{**SIZES, "img_size": images.shape[2]})


# Each at a size of its own, so that none meets what another one left behind.
@pytest.mark.parametrize(("strange", "side"), [(exported, 48), (faked, 56), (on_meta, 64), (without_gradients, 72)])
def test_no_tensor_outlives_a_strange_mode(strange, side):
    images = torch.randn(1, 3, side, side)
    strange(images)
    encoder, grid = VisionTransformer(**SIZES), (side // 8, side // 8)
    tokens = encoder(images)
    tokens.square().mean().backward()
    larger = VisionTransformer(**{**SIZES, "img_size": side})
    for tensor in (tokens, larger.pos_embed):
        assert not isinstance(tensor, FakeTensor) and tensor.device.type == "cpu" and not tensor.is_inference()
    assert torch.equal(larger.pos_embed, sincos_pos_embed(48, grid, 1))
    larger.load_state_dict({**encoder.state_dict(), "pos_embed": resize_pos_embed(encoder.pos_embed, (4, 4), grid, 1)})
    assert torch.equal(larger(images), tokens)


@pytest.mark.parametrize("pos_embed", ["sincos", "learned"])
@pytest.mark.parametrize("size", [(48, 80), (32, 32)])
def test_exported_for_every_batch_and_size(pos_embed, size):
    encoder = VisionTransformer(**SIZES, pos_embed=pos_embed).eval()
    auto = torch.export.Dim.AUTO
    with torch.no_grad():
        program = torch.export.export(
            encoder, (torch.randn(2, 3, *size),), dynamic_shapes={"images": {0: auto, 2: auto, 3: auto}}, strict=False
        ).module()
    for shape in ((2, 3, *size), (5, 3, 32, 32), (1, 3, 40, 64)):
        images = torch.randn(shape)
        torch.testing.assert_close(program(images), encoder(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("width", [16, 512, 1024, 1408])
def test_three_axes_at_every_width(width):
    """Each axis has its own channels, the last axis first, and the first of them have a pair more."""
    grid, pairs = (2, 3, 4), width // 2
    table = sincos_pos_embed(width, grid)[0].unflatten(0, grid)
    assert table.shape[-1] == width and table.isfinite().all()
    shares = [2 * (pairs // 3 + (number < pairs % 3)) for number in range(3)]
    for axis, channels in zip((2, 1, 0), table.split(shares, dim=-1), strict=True):
        moved = channels.movedim(axis, 0).flatten(1, 2)  # (side, places of the others, channels)
        assert torch.equal(moved, moved[:, :1].expand_as(moved)), "these channels tell this axis only"
        assert moved[:, 0].diff(dim=0).abs().amax(dim=1).min() > 0.1
    with pytest.raises(UsageError, match="need an even number, at least 6: use 16"):
        sincos_pos_embed(15, grid)


def test_flat_positions_interleave_sine_and_cosine():
    expected = [0.841471, 0.540302, 0.0998334, 0.995004, 0.00999983, 0.99995, 0.001, 0.9999995]
    torch.testing.assert_close(flat_pos_embed(8, 2, 1)[0, 2], torch.tensor(expected))
    assert flat_pos_embed(8, 2, 1)[0, 0].count_nonzero() == 0


@pytest.mark.parametrize(("own", "grid"), [((4,), (6,)), ((4, 4, 4), (2, 8, 4)), ((3, 4, 5), (3, 4, 5))])
def test_tables_of_one_and_three_axes_are_resized_axis_by_axis(own, grid):
    axes = [torch.arange(side, dtype=torch.float32) for side in own]
    table = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)[None]  # counts along each axis
    prefixed = torch.cat([torch.full((1, 2, len(own)), 7.0), table], dim=1)
    resized = resize_pos_embed(prefixed, own, grid, 2)
    assert torch.equal(resized[:, :2], prefixed[:, :2])
    cells = resized[0, 2:].unflatten(0, grid)
    for axis, (old, new) in enumerate(zip(own, grid, strict=True)):
        expected = ((torch.arange(new) + 0.5) * old / new - 0.5).clamp(0, old - 1)
        lines = cells[..., axis].movedim(axis, 0).reshape(new, -1)
        assert (lines - expected[:, None]).abs().max() < 0.3, "bicubic is not exact at the border"
        assert (lines - lines[:, :1]).abs().max() < 1e-5
    if own == grid:
        torch.testing.assert_close(resized, prefixed)


def test_indices_become_coordinates_without_the_device_being_waited_for():
    for grid in ((7,), (3, 5), (2, 3, 4)):
        ids = torch.arange(torch.Size(grid).numel()).view(1, -1)
        for ours, theirs in zip(unravel(ids, grid), torch.unravel_index(ids, grid), strict=True):
            assert torch.equal(ours, theirs)
