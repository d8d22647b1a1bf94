"""Several images in one sequence: who shares a grid, and what each image is told of the others."""

import pytest
import torch

from maetool.encoders import MixedTransformer, VisionTransformer
from maetool.errors import UsageError
from maetool.layers.attention import NearestKeys
from maetool.maskers import GroupMasker, NoMasker, RandomMasker
from maetool.ops.groups import in_groups
from maetool.ops.random import sample_keys

SIZES = {"img_size": (16, 24), "patch_size": (8, 4), "embed_dim": 24, "depth": 2, "num_heads": 2}  # 2 x 6 patches


def images_and_plan(batch, images=3, masker=None):
    pictures = torch.randn(batch, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    masker = masker or GroupMasker(images)
    return pictures, masker(pictures, (2, 6), keys=sample_keys(0, 0, torch.arange(batch)))


def mixed(**options):
    torch.manual_seed(0)
    encoder = MixedTransformer(**SIZES, images=3, **options).eval()
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return encoder


@pytest.mark.parametrize(("batch", "sizes"), [(6, [(2, 3)]), (7, [(2, 3), (1, 1)]), (2, [(1, 2)]), (0, [])])
def test_groups_of_a_batch(batch, sizes):
    groups = in_groups(torch.arange(batch)[:, None], 3)
    assert [group.shape[:2] for group in groups] == sizes
    assert torch.cat([group.flatten() for group in groups] or [torch.arange(0)]).equal(torch.arange(batch))


@pytest.mark.parametrize("grid", [(2, 6), (5, 7)])
@pytest.mark.parametrize("images", [2, 3, 4])
def test_the_images_of_a_group_fill_one_grid(grid, images):
    length = grid[0] * grid[1]
    pictures = torch.zeros(2 * images + 1, 3, 1, 1)
    plan = GroupMasker(images)(pictures, grid, keys=sample_keys(0, 0, torch.arange(len(pictures))))
    assert plan.num_keep == length // images
    seen = [(~group).sum(dim=1) for group in in_groups(plan.mask, images)]  # how many see each place
    assert seen[0].max() == 1, "no place is seen twice"
    assert (seen[0].sum(dim=1) == images * (length // images)).all()
    assert not torch.equal(seen[0][0] * plan.mask[0], seen[0][1] * plan.mask[images]), "groups differ"


def by_hand(encoder, pictures, plan):
    """Return the tokens of the first group by another way: attention with all but the largest products left out."""
    x = VisionTransformer.forward(encoder, pictures, plan, [0])[0]  # (B, S, D), before the blocks
    size = x.shape[1]
    x = torch.cat([x[i] + encoder.segment_embed[i] for i in range(3)])[None]
    for block in encoder.blocks:
        tokens = block.norm1(x)
        q, k, v = block.attn.qkv(tokens).view(1, 3 * size, 3, 2, 12).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / 12**0.5
        least = scores.sort(dim=-1, descending=True).values[..., size - 1, None]
        weights = scores.masked_fill(scores < least, float("-inf")).softmax(dim=-1)
        x = x + block.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    return encoder.norm(x).view(3, size, 24)


@torch.no_grad()
def test_tokens_attend_to_as_many_keys_as_an_image_has():
    pictures, plan = images_and_plan(7)
    encoder = mixed()
    latent = encoder(pictures, plan)
    torch.testing.assert_close(latent[:3], by_hand(encoder, pictures, plan), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(latent, mixed(nearest=False)(pictures, plan), atol=1e-3)
    levels = encoder(pictures, plan, [0, 2])
    torch.testing.assert_close(encoder.norm(levels[1]), latent)


@torch.no_grad()
def test_images_meet_within_their_group_alone():
    pictures, plan = images_and_plan(7)
    encoder = mixed(nearest=False)
    before, changed = encoder(pictures, plan), pictures.clone()
    changed[4] += 1
    same = [torch.equal(*pair) for pair in zip(before, encoder(changed, plan), strict=True)]
    assert same == [True] * 3 + [False] * 3 + [True]


@torch.no_grad()
def test_an_image_by_itself_is_seen_by_a_plain_vit():
    encoder, plain = mixed(), VisionTransformer(**SIZES).eval()
    plain.load_state_dict({name: value for name, value in encoder.state_dict().items() if name != "segment_embed"})
    pictures, plan = images_and_plan(4, masker=NoMasker())
    assert torch.equal(encoder(pictures), plain(pictures))
    torch.testing.assert_close(encoder(pictures, plan), plain(pictures))


def test_images_that_keep_more_than_their_share_are_refused():
    pictures, plan = images_and_plan(4, masker=RandomMasker(0.5))  # three halves do not fit into one grid
    with pytest.raises(UsageError, match=r"each may keep 4 of 12 patches, but 6 are kept: use the masker GroupMasker"):
        mixed()(pictures, plan)


def test_nearest_keys():
    q, k = torch.eye(4)[None, None, :2], torch.tensor([[3.0, 0, 0, 0], [2, 5, 0, 0], [1, 7, 0, 0]])[None, None]
    assert NearestKeys(2)(q, k)[0, 0].tolist() == [[True, True, False], [False, True, True]]
    assert NearestKeys(9)(q, k).all()


@pytest.mark.parametrize("part", [GroupMasker, lambda images: MixedTransformer(**SIZES, images=images)])
def test_one_image_is_no_group(part):
    with pytest.raises(UsageError, match="at least 2"):
        part(1)
