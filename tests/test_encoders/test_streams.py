"""An encoder of several streams: where their tokens lie, and what of them enters."""

import math

import pytest
import torch

from maetool.encoders import StreamTransformer, VisionTransformer
from maetool.errors import UsageError
from maetool.ops.pos_embed import sincos_pos_embed
from maetool.positions import fit_positions
from maetool.structures import Layout, MaskPlan, tokens_of_stream
from maetool.testing import check_encoder

STEMS = {
    "rgb": {"type": "PatchStem", "img_size": (16, 24), "patch_size": 8, "in_chans": 3},
    "clip": {"type": "PatchStem", "img_size": (4, 8, 16), "patch_size": (2, 4, 8), "in_chans": 1},
    "words": {"type": "TokenStem", "codebook": 9, "grid": (5,), "padding": 0},
    "points": {"type": "PointStem", "num_groups": 4, "widths": (8, 8, 8), "padded": True},
}
KINDS = {"rgb": "learned", "clip": "separable", "words": "flat", "points": "coords"}
SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def encoder_of(stems=("rgb", "clip", "words", "points"), **options):
    torch.manual_seed(0)
    options = {"pos_embed": {name: KINDS[name] for name in stems}, **options}
    encoder = StreamTransformer({name: STEMS[name] for name in stems}, **{**SMALL, **options}).eval()
    torch.nn.init.normal_(encoder.cls_token)
    return encoder


def batch_of(batch_size=3):
    generator = torch.Generator().manual_seed(1)
    batch = {
        "rgb": torch.randn(batch_size, 3, 16, 24, generator=generator),
        "clip": torch.randn(batch_size, 1, 4, 8, 16, generator=generator),
        "words": torch.randint(1, 9, (batch_size, 5), generator=generator),
        "points": torch.randn(batch_size, 4, 7, 3, generator=generator),
    }
    batch["words"][0, 3:] = 0
    batch["points"][1, 2:] = math.nan
    return batch


def change(batch, plan):
    """Return the batch with other numbers in every removed place."""
    masks = {
        name: plan.mask[:, place].unflatten(1, plan.layout.grids[name]) for name, place in plan.layout.slices.items()
    }
    rgb, clip, words, points = (masks[name] for name in STEMS)
    rgb = rgb.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    clip = clip.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(8, 3)[:, None]
    valid = batch["words"] != 0
    return {
        "rgb": torch.where(rgb, 1e3, batch["rgb"]),
        "clip": torch.where(clip, 1e3, batch["clip"]),
        "words": torch.where(words & valid, batch["words"] % 8 + 1, batch["words"]),
        "points": torch.where(points[..., None, None] & (torch.arange(7) > 0)[:, None], 1e3, batch["points"]),
    }


def in_order(layout, names):
    """Return the indices of the tokens when the streams come in another order."""
    return torch.cat([torch.arange(layout.length)[layout.slices[name]] for name in names])


@pytest.mark.parametrize("sees", ["visible", "all", "blank"])
@pytest.mark.parametrize("stream_code", ["none", "learned"])
def test_streams_of_every_kind_keep_the_contract(sees, stream_code):
    encoder = encoder_of(sees=sees, stream_code=stream_code, num_registers=1)
    check_encoder(encoder, batch_of(), change)
    layout = encoder.layout_of(batch_of())
    assert layout.grids == {"rgb": (2, 3), "clip": (2, 2, 2), "words": (5,), "points": (4,)} == encoder.grids
    assert layout.coords.shape == (3, 23, 3) and layout.valid.sum(dim=1).tolist() == [21, 21, 23]
    assert encoder.streams["clip"] == {"patch_size": (2, 4, 8), "in_chans": 1, "grid": (2, 2, 2)}


def test_positions_may_be_added_before_every_block():
    encoder = encoder_of(pos_every_block=True, num_registers=1)
    check_encoder(encoder, batch_of(), change)
    batch, seen = batch_of(), []
    positions = encoder.positions(encoder.grids, encoder.layout_of(batch).coords)
    for block in encoder.blocks:
        block.register_forward_hook(lambda block, inputs, out: seen.append((inputs[0], out)))
    tokens = encoder.tokens(batch)
    encoder(batch)
    torch.testing.assert_close(seen[0][0][:, 2:], tokens + positions)
    torch.testing.assert_close(seen[1][0][:, 2:], seen[0][1][:, 2:] + positions)
    assert torch.equal(seen[1][0][:, :2], seen[0][1][:, :2]), "the prefix has no place"


def test_permuting_streams_permutes_tokens():
    encoder, names = encoder_of(stream_code="learned"), ("points", "rgb", "words", "clip")
    other = encoder_of(names, stream_code="learned")
    other.load_state_dict(encoder.state_dict())
    batch = batch_of()
    order = in_order(encoder.layout_of(batch), names)
    out, permuted = encoder(batch), other(batch)
    torch.testing.assert_close(permuted[:, 1:], out[:, 1:][:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(permuted[:, 0], out[:, 0], atol=1e-5, rtol=1e-5)


def test_fixed_codes_move_with_their_streams():
    grids = {name: {"type": "PatchStem", "img_size": 16, "patch_size": 8, "in_chans": 1} for name in "ab"}
    codes = {"stream_code": "concat", "code_dim": 8, **SMALL}
    torch.manual_seed(0)
    encoder, other = StreamTransformer(grids, **codes), StreamTransformer(dict(reversed(grids.items())), **codes)
    place, code = sincos_pos_embed(16, (2, 2))[0], sincos_pos_embed(8, (2,))[0]
    expected = torch.cat([torch.cat([place, code[i].expand(4, -1)], dim=1) for i in (0, 1)])
    torch.testing.assert_close(encoder.positions(encoder.grids)[0], expected)
    other.load_state_dict(encoder.state_dict())
    batch = {name: torch.randn(2, 1, 16, 16) for name in "ab"}
    swapped = torch.cat([encoder(batch)[:, :1], encoder(batch)[:, 5:], encoder(batch)[:, 1:5]], dim=1)
    torch.testing.assert_close(other(batch), swapped, atol=1e-5, rtol=1e-5)


def test_samples_keep_other_numbers_of_each_stream():
    encoder, batch = encoder_of(), batch_of()
    layout = encoder.layout_of(batch)
    scores = torch.rand(3, layout.length, generator=torch.Generator().manual_seed(3))
    scores = scores.masked_fill(~layout.valid, 2.0)
    plan = MaskPlan.from_scores(scores, 9, layout)
    counts = {name: (~plan.mask[:, place]).sum(dim=1).tolist() for name, place in layout.slices.items()}
    assert any(len(set(each)) > 1 for each in counts.values())
    out = encoder(batch, plan)
    for name in layout.grids:
        own = tokens_of_stream(plan, name, out, encoder.num_prefix_tokens)
        assert torch.equal(own[:, :1], out[:, :1])
        assert own.shape[1] == 1 + max(counts[name])


def test_padding_of_a_batch_changes_nothing():
    """The words and points that a sample lacks are neither read nor attended to."""
    encoder, batch = encoder_of(), batch_of()
    out, layout = encoder(batch)[:, 1:], encoder.layout_of(batch)
    assert out.isfinite().all()
    batch["points"][1, 2:] = math.inf
    torch.testing.assert_close(encoder(batch)[:, 1:][layout.valid], out[layout.valid])
    # Positions of three words are those of five, scaled; without them the same words have the same tokens.
    words = encoder_of(("rgb", "words"))
    words.positions.tables["words"].pos_embed.zero_()
    both = {"rgb": batch["rgb"][:1], "words": batch["words"][:1]}
    short = {**both, "words": both["words"][:, :3]}
    torch.testing.assert_close(words(both)[:, :10], words(short), atol=1e-5, rtol=1e-5)


def test_one_stream_says_its_facts_itself_and_takes_a_tensor():
    encoder = encoder_of(("rgb",))
    assert not hasattr(encoder, "streams") and encoder.grid == (2, 3) and encoder.patch_size == (8, 8)
    images = batch_of()["rgb"]
    assert torch.equal(encoder(images), encoder({"rgb": images}))
    assert encoder.layout_of(images).grid == encoder.grid_of(images) == (2, 3)


def test_groups_of_channels_are_streams_of_one_image():
    groups = {"visible": (2, 1, 0), "infrared": (3,)}
    encoder = StreamTransformer(
        {"image": {"type": "GroupStem", "groups": groups, "img_size": 16, "patch_size": 8}}, **SMALL
    )
    images = torch.randn(2, 5, 16, 16)
    assert encoder.layout_of(images).grids == {"visible": (2, 2), "infrared": (2, 2)}
    assert encoder.streams["visible"]["in_chans"] == 3
    other = images.clone()
    other[:, 4] = 7
    assert torch.equal(encoder(other), encoder(images)), "a channel of no group is not read"
    other[:, 3] = 7
    changed = (encoder.tokens(other) - encoder.tokens(images)).abs().amax(dim=(0, 2))
    assert (changed[:4] == 0).all() and (changed[4:] > 0).all()


def test_weights_of_other_sizes_are_fitted_stream_by_stream():
    """Also where another stream has as many places on another grid."""
    sizes = {"rgb": ((16, 16), 4), "wide": ((8, 32), 4), "clip": ((4, 8, 16), (1, 4, 8))}
    stems = {n: {"type": "PatchStem", "img_size": s, "patch_size": p, "in_chans": 1} for n, (s, p) in sizes.items()}
    kinds = {"rgb": "learned", "wide": "sincos", "clip": "separable"}
    small = StreamTransformer(stems, pos_embed=kinds, **SMALL).eval()
    assert [torch.Size(grid).numel() for grid in small.grids.values()] == [16, 16, 16]
    twice = {n: {**stem, "img_size": tuple(2 * side for side in stem["img_size"])} for n, stem in stems.items()}
    large = StreamTransformer({**twice, "wide": stems["wide"]}, pos_embed=kinds, **SMALL).eval()
    fitted = fit_positions(large, large.state_dict(), small.state_dict(), recorded=(4, 4))
    assert sorted(line.partition(" from ")[2] for line in fitted.resized) == ["2x2 to 4x4", "4 to 8", "4x4 to 8x8"]
    large.load_state_dict(fitted.weights)
    batch = {n: torch.randn(2, 1, *stem["img_size"]) for n, stem in ({**twice, "wide": stems["wide"]}).items()}
    torch.testing.assert_close(large(batch), small(batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("size", "patch"), [((24,), (4,)), ((16, 24), (8, 4)), ((4, 16, 8), (2, 8, 4))])
def test_rotary_positions_of_one_stream_are_those_of_a_vit(size, patch):
    torch.manual_seed(0)
    vit = VisionTransformer(size, patch, 2, pos_embed="rotary", num_registers=1, **SMALL)
    stem = {"type": "PatchStem", "img_size": size, "patch_size": patch, "in_chans": 2}
    encoder = StreamTransformer({"x": stem}, pos_embed="rotary", num_registers=1, **SMALL)
    weights = {name.replace("patch_embed.", "stems.x."): value for name, value in vit.state_dict().items()}
    encoder.load_state_dict(weights)
    for factor in (1, 2):
        images = torch.randn(2, 2, *(factor * side for side in size))
        plan = MaskPlan.from_scores(torch.rand(2, vit.layout_of(images).length), 4, vit.layout_of(images))
        torch.testing.assert_close(encoder(images), vit(images))
        torch.testing.assert_close(encoder(images, plan), vit(images, plan))
        torch.testing.assert_close(encoder.attention(images), vit.attention(images))


@pytest.mark.parametrize("sees", ["visible", "all", "blank"])
def test_rotary_positions_of_several_streams_say_where_in_the_image(sees):
    patches = {"type": "PatchStem", "img_size": 16, "in_chans": 1}
    stems = {"fine": {**patches, "patch_size": 4}, "coarse": {**patches, "patch_size": 8}, "words": STEMS["words"]}
    kinds = {"fine": "rotary", "coarse": "rotary", "words": "learned"}
    torch.manual_seed(0)
    encoder = StreamTransformer(stems, pos_embed=kinds, sees=sees, **SMALL).eval()
    rope = encoder.positions.rope(encoder.grids, 12)
    cos, sin = rope.cos[0, 0], rope.sin[0, 0]
    at = torch.atan2(sin, cos)  # a cell of the coarse stream lies at the middle of four of the fine one
    four = at[[0, 1, 4, 5]].mean(dim=0)
    torch.testing.assert_close(at[16], four)
    assert cos[20:].eq(1).all() and sin[20:].eq(0).all(), "words are not turned"
    images = torch.randn(2, 1, 16, 16)
    batch = {"fine": images, "coarse": images, "words": torch.randint(1, 9, (2, 5))}
    names = ("words", "coarse", "fine")
    other = StreamTransformer({n: stems[n] for n in names}, pos_embed=kinds, sees=sees, **SMALL).eval()
    other.load_state_dict(encoder.state_dict())
    layout = encoder.layout_of(batch)
    order, scores = in_order(layout, names), torch.rand(2, layout.length)
    moved = torch.argsort(order)
    plan = MaskPlan.from_scores(scores, 6, layout)
    permuted = MaskPlan.from_scores(scores[:, order], 6, other.layout_of(batch))
    out, again = encoder(batch, plan), other(batch, permuted)
    ids = torch.arange(layout.length).expand(2, -1) if sees == "all" else plan.ids_keep
    there = torch.arange(layout.length).expand(2, -1) if sees == "all" else permuted.ids_keep
    for row in range(2):
        places = [there[row].tolist().index(moved[place]) for place in ids[row].tolist()]
        torch.testing.assert_close(again[row, 1:][places], out[row, 1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sees", ["visible", "all", "blank"])
def test_not_even_nan_in_removed_places_reaches_a_gradient(sees):
    stems = {"rgb": STEMS["rgb"], "clip": STEMS["clip"]}
    stems["bands"] = {"type": "GroupStem", "img_size": 8, "patch_size": 4, "groups": {"near": (0, 1), "far": (1,)}}
    encoder = StreamTransformer(stems, sees=sees, **SMALL)
    batch = {**batch_of(), "bands": torch.randn(3, 2, 8, 8)}
    layout = encoder.layout_of(batch)
    scores = torch.rand(3, layout.length, generator=torch.Generator().manual_seed(4))
    for counts in (9, torch.tensor([4, 9, 6])):
        plan = MaskPlan.from_scores(scores, counts, layout)
        masks = {name: plan.mask[:, place].unflatten(1, layout.grids[name]) for name, place in layout.slices.items()}
        rgb = masks["rgb"].repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
        clip = masks["clip"].repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(8, 3)[:, None]
        near, far = (masks[name].repeat_interleave(4, 1).repeat_interleave(4, 2) for name in ("near", "far"))
        bands = torch.stack([near, near & far], dim=1)  # channel 1 is in both groups
        hidden = {"rgb": rgb, "clip": clip, "bands": bands}
        poisoned = {name: torch.where(hidden[name], math.nan, batch[name]) for name in hidden}
        out = encoder(poisoned, plan)
        assert torch.equal(out, encoder({name: batch[name] for name in hidden}, plan))
        encoder.zero_grad()
        out.square().mean().backward()
        assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


SENTENCES = [
    ({}, "has no stems"),
    ({"pos_embed": "rotary"}, "'rotary' for streams of different numbers of axes .2 of rgb, 1 of words"),
    ({"pos_embed": {"rgb": "rotary", "words": "none"}, "num_heads": 12}, "need heads of at least 4 channels"),
    ({"pos_embed": "rotary", "stream_code": "concat", "code_dim": 4}, "stream_code='concat' needs a table"),
    ({"pos_embed": {"rgb": "sincos"}}, "pos_embed names rgb, but the streams are rgb, words"),
    ({"stream_code": "sine"}, "stream_code is 'sine', but must be 'none', 'concat' or 'learned'"),
    ({"stream_code": "concat"}, "code_dim is 0, but 'concat' needs the number of channels"),
    ({"pos_embed": "coords"}, "its stem gives no coordinates"),
    ({"stems": {"a.b": STEMS["rgb"]}}, "A stream is called 'a.b', which cannot be the name of a module"),
    ({"stems": {"items": STEMS["rgb"]}}, "A stream is called 'items'"),
    ({"stems": {"x": {"type": "GroupStem", "groups": {"to": [0]}}}}, "A stream is called 'to'"),
]


@pytest.mark.parametrize(("options", "sentence"), SENTENCES)
def test_what_cannot_be_is_told(options, sentence):
    stems = () if not options else ("rgb", "words")
    with pytest.raises(UsageError, match=sentence):
        StreamTransformer(**{"stems": {name: STEMS[name] for name in stems}, **SMALL, **options})


def test_inputs_that_do_not_fit_are_told():
    encoder, batch = encoder_of(), batch_of()
    for wrong, sentence in (
        ({**batch, "rgb": batch["clip"]}, r"\(batch, 3, height, width\), but got"),
        ({**batch, "words": batch["words"].float()}, "TokenStem takes int64 ids of shape"),
        ({**batch, "points": batch["points"][..., :2]}, "PointStem takes groups of points of shape"),
        ({"rgb": batch["rgb"]}, "The encoder reads rgb, clip, words, points, but got rgb: give each of them"),
        (batch["rgb"], "but got one tensor"),
        ({**batch, "rgb": batch["rgb"][:2]}, "differ in their numbers of samples .2 of rgb, 3 of clip"),
    ):
        with pytest.raises(UsageError, match=sentence):
            encoder(wrong)
    wide = StreamTransformer({"rgb": STEMS["rgb"]}, **SMALL)
    wide.stems["rgb"].proj = torch.nn.Conv2d(3, 32, 8, 8)
    with pytest.raises(UsageError, match="The stem rgb makes tokens of width 32, but the encoder's are 24"):
        wide(batch["rgb"])
    plan = MaskPlan.from_scores(torch.rand(3, 12), 3, Layout.of({"rgb": (2, 3), "clip": (6,)}))
    with pytest.raises(UsageError, match="The plan is for the layout rgb 2x3 and clip 6, but the batch has"):
        encoder(batch, plan)
    grids = dict(zip("abcd", encoder.grids.values(), strict=True))
    with pytest.raises(UsageError, match="The plan is for the layout a 2x3 and b 2x2x2"):
        encoder(batch, MaskPlan.from_scores(torch.rand(3, 23), 3, Layout.of(grids)))
    with pytest.raises(UsageError, match="Two stems have a stream called 'a'"):
        StreamTransformer({"a": STEMS["rgb"], "b": {"type": "GroupStem", "groups": {"a": [0], "c": [1]}}}, **SMALL)
