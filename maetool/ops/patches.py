"""Images to patches and back, for any number of axes.

The numbers of a patch are ordered row, column, channel (channel fastest), as in MAE's `patchify`; the patches are
numbered along the grid in C order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from .geometry import grid_of


def patchify(images: Tensor, patch_size: Sequence[int]) -> Tensor:
    """Cut images (B, C, *size) into patches (B, L, P) with P = prod(patch_size) * C.

    Raises:
        UsageError: the image does not divide into patches.
    """
    grid = grid_of(images.shape[2:], patch_size)
    rank = len(grid)
    x = _split(images, grid, patch_size)  # (B, C, h, ph, w, pw)
    x = x.permute(0, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2), 1)  # (B, h, w, ph, pw, C)
    return x.flatten(1 + rank).flatten(1, rank)  # (B, L, P)


def unpatchify(patches: Tensor, grid: Sequence[int], patch_size: Sequence[int]) -> Tensor:
    """Put patches (B, L, P) back into images (B, C, *size): the inverse of `patchify`.

    Args:
        patches: (B, L, P), P = C * the product of `patch_size`.
        grid: patches along each axis.
        patch_size: the sides of a patch, in pixels.
    """
    rank = len(grid)
    x = patches.unflatten(2, (*patch_size, -1)).unflatten(1, tuple(grid))  # (B, h, w, ph, pw, C)
    pairs = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
    x = x.permute(0, 1 + 2 * rank, *pairs)  # (B, C, h, ph, w, pw)
    return x.reshape(x.shape[0], x.shape[1], *(g * p for g, p in zip(grid, patch_size, strict=True)))


def take_patches(images: Tensor, patch_size: Sequence[int], ids: Tensor) -> Tensor:
    """Return the patches `ids` (B, N) of images (B, C, *size) as (B, N, C, *patch_size); others are not touched.

    Raises:
        UsageError: the image does not divide into patches.
    """
    grid = grid_of(images.shape[2:], patch_size)
    batch = torch.arange(images.shape[0], device=images.device)[:, None]
    index: tuple[Tensor | slice, ...] = (batch, slice(None))
    for axis in unravel(ids, grid):
        index += (axis, slice(None))
    return _split(images, grid, patch_size)[index]  # (B, N, C, ph, pw)


def without_patches(images: Tensor, patch_size: Sequence[int], hidden: Tensor) -> Tensor:
    """Return images with zeros in the hidden patches, even in place of NaN.

    Args:
        images: (B, C, *size).
        patch_size: pixels of a patch along each axis, which divide the size.
        hidden: bool (B, L), True = hidden.
    """
    sides = [side // patch for side, patch in zip(images.shape[2:], patch_size, strict=True)]
    cells = hidden.unflatten(1, sides)
    for axis, patch in enumerate(patch_size, start=1):
        cells = cells.repeat_interleave(patch, dim=axis)
    return torch.where(cells[:, None], 0.0, images)


def take_windows(images: Tensor, patch_size: Sequence[int], ids: Tensor, border: int) -> Tensor:
    """Return the patches `ids` (B, N) of images (B, C, H, W) with `border` pixels around: (B, N, C, ph + 2b, pw + 2b).

    At the edges of the image the border mirrors it, without repeating the outermost pixel.

    Args:
        images: (B, C, H, W).
        patch_size: (ph, pw), in pixels.
        ids: int64 (B, N), flat indices of patches.
        border: b, in pixels.

    Raises:
        UsageError: the image does not divide into patches.
    """
    grid = grid_of(images.shape[2:], patch_size)
    windows = pad(images, (border,) * 4, mode="reflect")
    for axis, side in enumerate(patch_size, start=2):
        windows = windows.unfold(axis, side + 2 * border, side)  # a view: (B, C, h, w, ph + 2b, pw + 2b)
    batch = torch.arange(images.shape[0], device=images.device)[:, None]
    index: tuple[Tensor | slice, ...] = (batch, slice(None), *unravel(ids, grid))
    windows = windows[index]
    # In memory the pixels of a window come first, so that arithmetic runs along the windows and not along a few pixels.
    return windows.movedim((-2, -1), (0, 1)).contiguous().movedim((0, 1), (-2, -1))


def unravel(ids: Tensor, grid: Sequence[int]) -> list[Tensor]:
    """Return the coordinates along each axis of flat indices, as `torch.unravel_index` without waiting for the device.

    Args:
        ids: int64, of any shape.
        grid: places along each axis; the index runs in C order.
    """
    axes: list[Tensor] = []
    for side in reversed(grid[1:]):
        axes.append(ids % side)
        ids = ids // side
    return [ids, *reversed(axes)]


def cell_ids(ids: Tensor, grid: Sequence[int], cells: Sequence[int]) -> Tensor:
    """Return the flat indices, on a grid of cells, of the cells of patches: (B, N * prod(cells)).

    Those of a patch come one after another, in C order.

    Args:
        ids: int64 (B, N), of the patches.
        grid: patches along each axis.
        cells: cells of a patch along each axis.
    """
    index = ids.new_zeros(())
    for axis, (place, side, number) in enumerate(zip(unravel(ids, grid), grid, cells, strict=True)):
        own = torch.arange(number, device=ids.device).view(-1, *[1] * (len(grid) - 1 - axis))
        index = index * (side * number) + place.view(*ids.shape, *[1] * len(grid)) * number + own
    return index.flatten(1)  # from (B, N, *cells)


def take_tokens(tokens: Tensor, ids: Tensor) -> Tensor:
    """Return the tokens `ids` (B, N) of (B, L, D) as (B, N, D)."""
    return tokens.gather(1, ids[..., None].expand(-1, -1, tokens.shape[2]))


def with_prefix_ids(ids: Tensor, num_prefix_tokens: int) -> Tensor:
    """Return the ids (B, T + N) of a prefix, and of patches `ids` (B, N), among tokens (B, T + L, D).

    Args:
        ids: int64 (B, N), of patches.
        num_prefix_tokens: T.
    """
    prefix = torch.arange(num_prefix_tokens, device=ids.device).expand(len(ids), -1)
    return torch.cat([prefix, ids + num_prefix_tokens], dim=1)


def inverse_permutation(ids: Tensor) -> Tensor:
    """Return the inverse of each permutation in `ids`, int64 (B, L): the position at which each index stands."""
    ranks = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return torch.empty_like(ids).scatter_(1, ids, ranks)


def _split(images: Tensor, grid: Sequence[int], patch_size: Sequence[int]) -> Tensor:
    """View images (B, C, H, W) as (B, C, h, ph, w, pw)."""
    pairs = (side for pair in zip(grid, patch_size, strict=True) for side in pair)
    return images.reshape(*images.shape[:2], *pairs)
