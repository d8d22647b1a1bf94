"""Decoders on 1 to 3 axes, on several streams, with padding, with groups, and with a memory."""

from dataclasses import replace
from itertools import chain, pairwise
from math import prod

import pytest
import torch

from maetool.decoders import (
    CrossAttentionDecoder,
    CrossViewDecoder,
    LinearDecoder,
    PredictorDecoder,
    RefiningDecoder,
    RegressorDecoder,
    TransformerDecoder,
    VisibleDecoder,
)
from maetool.errors import UsageError
from maetool.ops.pos_embed import sincos_pos_embed
from maetool.structures import Layout, MaskPlan
from maetool.testing import check_decoder

GRIDS = {1: (9,), 2: (3, 4), 3: (2, 3, 4)}
STREAMS = {"rgb": (2, 3), "clip": (2, 2, 2), "words": (5,)}
SMALL = {"embed_dim": 16, "depth": 2, "num_heads": 2}
D, P = 12, 10


def shaken(decoder):
    torch.manual_seed(0)
    for parameter in decoder.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return decoder.eval()


def make(kind, grid, **options):
    torch.manual_seed(0)
    if kind in (LinearDecoder, VisibleDecoder):
        return kind(D, P)
    if kind in (RefiningDecoder, RegressorDecoder):  # as wide as what they read
        return kind(D, P, grid, depth=2, num_heads=2, **options)
    more = {"num_layers": 2} if kind is CrossAttentionDecoder else {}
    return kind(D, P, grid, **more, **SMALL, **options)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "kind",
    [
        *(TransformerDecoder, PredictorDecoder, CrossViewDecoder, CrossAttentionDecoder, LinearDecoder, VisibleDecoder),
        *(RegressorDecoder, RefiningDecoder),
    ],
)
def test_every_rank(kind, rank):
    check_decoder(make(kind, GRIDS[rank]), D, P, GRIDS[rank])


@pytest.mark.parametrize("pos_embed", ["sincos_rows", "learned", "flat", "separable", "rotary", "none"])
def test_predictions_are_refined_among_themselves_and_without_padding(pos_embed):
    decoder = shaken(make(RefiningDecoder, (3, 4), pos_embed=pos_embed))
    scores = torch.rand(3, 12, generator=torch.Generator().manual_seed(0))
    plan, pred = MaskPlan.from_scores(scores, torch.tensor([4, 8, 12]), (3, 4)), torch.randn(3, 8, D)
    own = plan.weight[1] > 0
    alone = MaskPlan.from_scores(scores[1:2], 8, (3, 4))
    out = decoder(pred, plan)
    assert torch.allclose(out[1:2, own], decoder(pred[1:2, own], alone), atol=1e-5)
    assert out.isfinite().all()  # also of a sample that predicts nothing
    larger = MaskPlan.from_scores(torch.rand(2, 30), 6, (5, 6))
    assert decoder(torch.randn(2, 24, D), larger).shape == (2, 24, P)


@pytest.mark.parametrize("pos_embed", ["sincos_rows", "learned", "flat", "separable"])
def test_a_regressor_has_any_table_and_sees_the_other_queries(pos_embed):
    decoder = shaken(make(RegressorDecoder, (3, 4), pos_embed=pos_embed))
    check_decoder(decoder, D, P, (3, 4))
    larger = MaskPlan.from_scores(torch.rand(2, 30), 6, (5, 6))
    latent = torch.randn(2, 7, D)
    few = replace(larger, ids_predict=larger.ids_predict[:, :3])
    assert not torch.allclose(decoder(latent, few), decoder(latent, larger)[:, :3], atol=1e-3)
    prefix = latent.clone()
    prefix[:, 0] += 1  # which it does not read
    assert torch.equal(decoder(prefix, larger), decoder(latent, larger))
    with pytest.raises(UsageError, match="pos_embed is 'rotary', but RegressorDecoder adds"):
        make(RegressorDecoder, (3, 4), pos_embed="rotary")
    with pytest.raises(UsageError, match="the predictions are 12 wide, but the target has 10"):
        make(RegressorDecoder, (3, 4), output=False)


@pytest.mark.parametrize("kind", [TransformerDecoder, PredictorDecoder, CrossViewDecoder])
@pytest.mark.parametrize("pos_embed", ["learned", "flat", "separable", "rotary", "none"])
def test_every_kind_of_positions_on_every_grid(kind, pos_embed):
    decoder = make(kind, (2, 3, 4), pos_embed=pos_embed)
    check_decoder(decoder, D, P, (2, 3, 4))
    plan = MaskPlan.from_scores(torch.rand(2, 60), 12, (3, 4, 5))
    memory = {"memory": torch.randn(2, 61, D)} if kind is CrossViewDecoder else {}
    assert decoder(torch.randn(2, 13, D), plan, **memory).isfinite().all()


@pytest.mark.parametrize("kind", [TransformerDecoder, PredictorDecoder])
def test_rotary_positions_of_streams(kind):
    places = {"grids": {"x": (3, 4)}, "stream_code": "learned"}, {"grid": (3, 4)}
    decoder, alone = (shaken(kind(D, P, pos_embed="rotary", **SMALL, **place)) for place in places)
    torch.nn.init.zeros_(decoder.stream_positions.codes["x"])
    alone.load_state_dict({n: v for n, v in decoder.state_dict().items() if "stream_positions" not in n})
    check_decoder(decoder, D, P, (3, 4))
    plan = MaskPlan.from_scores(torch.rand(2, 12), 5, (3, 4))
    latent = torch.randn(2, 6, D)
    torch.testing.assert_close(decoder(latent, plan), alone(latent, plan))
    several = {"rgb": (2, 3), "depth": (4, 6)}
    check_decoder(kind(D, P, grids=several, pos_embed="rotary", **SMALL), D, P, several)
    with pytest.raises(UsageError, match=r"different numbers of axes .2 of rgb, 3 of clip"):
        kind(D, P, grids=STREAMS, pos_embed="rotary", **SMALL)


@pytest.mark.parametrize("kind", [TransformerDecoder, PredictorDecoder])
@pytest.mark.parametrize(("code", "code_dim"), [("none", 0), ("learned", 0), ("concat", 6)])
def test_streams_have_positions_and_maps_of_their_own(kind, code, code_dim):
    widths = {"rgb": 10, "clip": 4, "words": 7}
    decoder = kind(D, P, grids=STREAMS, out_dims=widths, stream_code=code, code_dim=code_dim, **SMALL)
    check_decoder(decoder, D, P, STREAMS)
    layout = Layout.of(STREAMS)
    plan = MaskPlan.from_scores(torch.rand(3, layout.length), 5, layout)
    pred = shaken(decoder)(torch.randn(3, 6, D), plan)
    place = plan.ids_predict
    for name, own in layout.slices.items():
        rows = pred[(place >= own.start) & (place < own.stop)]
        assert (rows[:, : widths[name]] != 0).all() and (rows[:, widths[name] :] == 0).all()
    if code != "none":
        table = decoder.stream_positions(layout.grids)[0, 1:]
        parts = [table[own].mean(dim=0) for own in layout.slices.values()]
        assert all((a - b).abs().max() > 0.01 for a, b in pairwise(parts))
    with pytest.raises(UsageError, match="The stream words has no width in out_dims, which names rgb, clip"):
        kind(D, P, grids=STREAMS, out_dims={"rgb": 1, "clip": 1}, **SMALL)(torch.randn(3, 6, D), plan)


@pytest.mark.parametrize("kind", [TransformerDecoder, PredictorDecoder])
def test_permuting_streams_permutes_predictions(kind):
    grids, flipped = STREAMS, dict(reversed(STREAMS.items()))
    decoder, other = (kind(D, P, grids=g, out_dims=dict.fromkeys(g, P), **SMALL) for g in (grids, flipped))
    shaken(decoder)
    other.eval().load_state_dict(decoder.state_dict())
    here, there = Layout.of(grids), Layout.of(flipped)
    order = torch.cat([torch.arange(here.length)[here.slices[name]] for name in flipped])
    scores, latent = torch.rand(3, here.length), torch.randn(3, 6, D)
    plans = MaskPlan.from_scores(scores, 5, here), MaskPlan.from_scores(scores[:, order], 5, there)
    full = [
        plan.scatter(part(latent, plan), torch.zeros(3, 19, P))
        for part, plan in zip((decoder, other), plans, strict=True)
    ]
    torch.testing.assert_close(full[0][:, order], full[1], atol=1e-5, rtol=1e-5)


def test_padded_places_of_a_batch_are_not_attended_to():
    layout = Layout({"words": (6,)}, valid=torch.arange(6).expand(2, -1) < torch.tensor([[6], [4]]))
    scores = torch.tensor([[0.0, 3, 1, 4, 5, 6]] * 2)
    plan = MaskPlan.from_scores(scores, 2, layout, num_predict=2)
    plan = replace(plan, ids_predict=torch.tensor([[1, 3]] * 2))
    short = replace(
        plan, layout=Layout.of({"words": (4,)}), ids_restore=torch.tensor([[0, 2, 1, 3]] * 2), mask=plan.mask[:, :4]
    )
    latent = torch.randn(2, 3, D)
    decoder = shaken(TransformerDecoder(D, P, (6,), pos_embed="none", **SMALL))
    torch.testing.assert_close(decoder(latent, plan)[1], decoder(latent, short)[1], atol=1e-5, rtol=1e-5)
    assert (decoder(latent, plan)[0] - decoder(latent, short)[0]).abs().max() > 1e-3


def grouped_plan(groups, grid=(3, 4), keep=4):
    """Return a plan in which each list of patches is a group, for two samples alike."""
    plan = MaskPlan.from_scores(torch.arange(prod(grid)).float().expand(2, -1), keep, grid)
    ids = torch.tensor([list(chain(*groups))] * 2)
    group = torch.tensor([[number for number, own in enumerate(groups) for _ in own]] * 2)
    return replace(plan, ids_predict=ids, group=group).validate()


@pytest.mark.parametrize(
    ("groups", "number"),
    [
        ([[5, 6], [6, 7], [0, 11]], None),
        ([[5, 6], [6, 7], [0, 11]], 3),
        ([[4], [4, 5, 6, 7, 8], [9, 10]], None),
    ],
)
def test_groups_are_predicted_as_if_alone(groups, number):
    """Patches may be in several groups, and be visible, and groups may differ in size."""
    plan, latent = grouped_plan(groups), torch.randn(2, 5, D)
    decoder = shaken(PredictorDecoder(D, P, (3, 4), num_groups=number, **SMALL))
    pred = decoder(latent, plan).split([len(own) for own in groups], dim=1)
    for own, found in zip(groups, pred, strict=True):
        alone = replace(plan, ids_predict=torch.tensor([own] * 2), group=None)
        torch.testing.assert_close(found, decoder(latent, alone), atol=1e-5, rtol=1e-5)


def test_groups_that_are_not_as_stated_are_told():
    plan, latent = grouped_plan([[4], [4, 5, 6], [9, 10]]), torch.randn(2, 5, D)
    for number in (4, 3):
        with pytest.raises(UsageError, match=f"num_groups is {number}, but the 6 predictions of a sample are not"):
            PredictorDecoder(D, P, (3, 4), num_groups=number, **SMALL)(latent, plan)
    for other in (TransformerDecoder(D, P, (3, 4), **SMALL), CrossViewDecoder(D, P, (3, 4), **SMALL)):
        memory = {"memory": torch.randn(2, 13, D)} if isinstance(other, CrossViewDecoder) else {}
        with pytest.raises(UsageError, match=r"groups that are predicted separately, but .* use PredictorDecoder"):
            other(latent, plan, **memory)


def test_predictions_of_weight_zero_are_seen_by_nobody_unless_it_is_asked_for():
    plan, latent = grouped_plan([[5, 6, 7]]), torch.randn(2, 5, D)
    plan = replace(plan, group=None, weight=torch.tensor([[1.0, 1, 0]] * 2))
    shorter = replace(plan, ids_predict=plan.ids_predict[:, :2], weight=None)
    decoder = shaken(PredictorDecoder(D, P, (3, 4), **SMALL))
    torch.testing.assert_close(decoder(latent, plan)[:, :2], decoder(latent, shorter), atol=1e-5, rtol=1e-5)
    decoder.attend_unweighted = True
    torch.testing.assert_close(decoder(latent, plan), decoder(latent, replace(plan, weight=None)))
    assert (decoder(latent, plan)[:, :2] - decoder(latent, shorter)).abs().max() > 1e-3


def test_a_visible_place_may_be_predicted_too():
    plan, latent = grouped_plan([[0, 5]]), torch.randn(2, 5, D)
    decoder = shaken(PredictorDecoder(D, P, (3, 4), **SMALL))
    x = torch.cat([decoder.embed(latent), decoder.mask_token.expand(2, 2, -1)], dim=1)
    table = sincos_pos_embed(16, (3, 4), 1)[0]
    x = x + table[[0, 1, 2, 3, 4, 1, 6]]
    for block in decoder.blocks:
        x = block(x)
    pred = decoder.pred(decoder.norm(x[:, -2:]))
    torch.testing.assert_close(decoder(latent, replace(plan, group=None)), pred, atol=1e-5, rtol=1e-5)


def test_blank_places_get_the_class_token_where_it_fills():
    plan = MaskPlan.from_scores(torch.rand(2, 12), 3, (3, 4), num_blank=4)
    latent, decoder = torch.randn(2, 8, D), shaken(TransformerDecoder(D, P, (3, 4), fill="cls", **SMALL))
    other = torch.where(torch.nn.functional.pad(plan.blank, (1, 0))[..., None], torch.randn(2, 8, D), latent)
    assert torch.equal(decoder(latent, plan), decoder(other, plan))
    assert not hasattr(decoder, "mask_token")
    kept = shaken(TransformerDecoder(D, P, (3, 4), **SMALL))
    assert (kept(latent, plan) - kept(other, plan)).abs().max() > 1e-3
    with pytest.raises(UsageError, match="fill is 'cls', but the encoder has no class token"):
        TransformerDecoder(D, P, (3, 4), 0, fill="cls", **SMALL)


def test_a_prefix_of_its_own():
    check_decoder(TransformerDecoder(D, P, (3, 4), 2, own_prefix=True, **SMALL), D, P, (3, 4), prefix=2)
    for options in ({"num_prefix_tokens": 0}, {"fill": "cls"}, {"predict_prefix": True}):
        with pytest.raises(UsageError, match="own_prefix replaces the encoder's class token"):
            TransformerDecoder(D, P, (3, 4), own_prefix=True, **{**SMALL, **options})


@pytest.mark.parametrize("post_norm", [True, False])
@pytest.mark.parametrize(
    "steps", [("cross", "mlp", "self"), ("self", "cross", "mlp"), ("mlp", "self", "cross", "self")]
)
def test_the_memory_is_asked_and_learns(steps, post_norm):
    decoder = CrossViewDecoder(D, P, (3, 4), steps=steps, post_norm=post_norm, memory_norm=True, **SMALL)
    check_decoder(decoder, D, P, (3, 4))
    plan, latent, memory = (
        MaskPlan.from_scores(torch.rand(2, 12), 3, (3, 4)),
        torch.randn(2, 4, D),
        torch.randn(2, 13, D),
    )
    assert (decoder(latent, plan, memory) - decoder(latent, plan, memory.flip(0))).abs().max() > 1e-4
    with pytest.raises(UsageError, match="must name 'cross'"):
        CrossViewDecoder(D, P, (3, 4), steps=("self", "mlp"), **SMALL)


def test_a_decoder_without_places_is_told():
    with pytest.raises(UsageError, match="needs the grid of its places: give grid, or grids"):
        TransformerDecoder(D, P, **SMALL)
    with pytest.raises(UsageError, match="must have 1, 2 or 3 axes"):
        TransformerDecoder(D, P, (2, 2, 2, 2), **SMALL)


def test_positions_of_points_are_a_network_of_their_coordinates():
    decoder = shaken(TransformerDecoder(D, P, (8,), grids={"points": (8,)}, pos_embed="coords", coord_dim=3, **SMALL))
    coords, latent = torch.randn(2, 8, 3), torch.randn(2, 4, D)
    scores = torch.arange(8.0).expand(2, -1)
    plan = MaskPlan.from_scores(scores, 3, Layout({"points": (8,)}, coords))
    moved = coords.clone()
    moved[0, 7] += 1
    other = decoder(latent, replace(plan, layout=Layout({"points": (8,)}, moved)))
    changed = (decoder(latent, plan) - other).abs().amax(dim=2)
    assert (changed[0] > 0).all() and (changed[1] == 0).all()
    with pytest.raises(UsageError, match="but the layout of the batch has none"):
        decoder(latent, replace(plan, layout=Layout.of({"points": (8,)})))
    with pytest.raises(UsageError, match="or in a decoder set coord_dim"):
        TransformerDecoder(D, P, (8,), pos_embed="coords", **SMALL)


def test_what_a_decoder_of_views_cannot_place_is_told():
    plan, latent, memory = (
        MaskPlan.from_scores(torch.rand(2, 12), 3, (3, 4)),
        torch.randn(2, 4, D),
        torch.randn(2, 9, D),
    )
    assert CrossViewDecoder(D, P, (3, 4), **SMALL)(latent, plan, memory).shape == (2, 9, P)
    for options in ({"memory_positions": True}, {"pos_embed": "rotary"}):
        with pytest.raises(UsageError, match="The other view has 9 tokens, but the masked one 13"):
            CrossViewDecoder(D, P, (3, 4), **SMALL, **options)(latent, plan, memory)
    with pytest.raises(UsageError, match="need heads of at least 4 channels, but they have 2"):
        CrossViewDecoder(D, P, (3, 4), embed_dim=16, num_heads=8, pos_embed="rotary")


def test_streams_that_a_decoder_does_not_know_are_told():
    decoder = TransformerDecoder(D, P, grids=STREAMS, **SMALL)
    plan = MaskPlan.from_scores(torch.rand(3, 8), 5, Layout.of({"rgb": (2, 3), "depth": (2,)}))
    with pytest.raises(UsageError, match="There is no stream 'depth', only rgb, clip, words"):
        decoder(torch.randn(3, 6, D), plan)
    some = MaskPlan.from_scores(torch.rand(3, 11), 5, Layout.of({"words": (5,), "rgb": (2, 3)}))
    assert decoder(torch.randn(3, 6, D), some).shape == (3, 6, P)
