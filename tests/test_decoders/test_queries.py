"""Queries of the predicted patches."""

import pytest
import torch

from maetool.decoders import QueryDecoder, TransformerDecoder
from maetool.errors import UsageError
from maetool.structures import MaskPlan

SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 2}
PLAN = MaskPlan.from_scores(torch.rand(2, 15, generator=torch.Generator().manual_seed(0)), 5, (3, 5))


def shaken(**options):
    torch.manual_seed(0)
    decoder = QueryDecoder(24, 7, (3, 5), **SIZES, **options)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return decoder


def test_predictions_see_each_other_only_in_self_attention():
    latent, few = torch.randn(2, 6, 24), PLAN.predicting("all")
    for steps, alone in ((("cross", "mlp"), True), (("self", "cross", "mlp"), False)):
        decoder = shaken(steps=steps)
        same = torch.allclose(
            decoder(latent, few).gather(1, PLAN.ids_predict[..., None].expand(-1, -1, 7)),
            decoder(latent, PLAN),
            atol=1e-5,
        )
        assert same is alone


def test_queries_that_begin_with_what_is_visible_are_means_of_it():
    decoder = shaken(start="visible", class_token=True, memory_positions=True, memory_norm=True)
    assert not QueryDecoder(24, 7, (3, 5), **SIZES, start="visible").mask_token.any()
    table = decoder.pos_embed[0, 1:]
    memory = torch.randn(2, 6, 16)
    known, wanted = table[PLAN.ids_keep], table[PLAN.ids_predict]
    weights = (wanted @ known.transpose(1, 2) / 4).softmax(dim=-1)
    expected = decoder.mask_token + weights @ memory[:, 1:]
    prefix = torch.zeros(2, 1, 16)
    queries = decoder._queries(memory, torch.cat([prefix, known], dim=1), wanted, PLAN)
    torch.testing.assert_close(queries, expected)


def test_choices_that_contradict_each_other():
    for options, message in (
        ({"start": "zero"}, "start is 'zero' and output 'linear'"),
        ({"output": "cosine"}, "output 'cosine'"),
        ({"start": "visible", "pos_embed": "rotary"}, "need a table of positions, but pos_embed is 'rotary'"),
        ({"memory_positions": True, "embed_memory": False}, "set embed_memory=True"),
        ({"steps": ("self", "mlp")}, "must name 'cross'"),
    ):
        with pytest.raises(UsageError, match=message):
            QueryDecoder(24, 7, (3, 5), **SIZES, **options)


def test_another_number_of_heads_takes_the_weights_and_gives_other_numbers():
    decoders = [TransformerDecoder(24, 7, (3, 5), **{**SIZES, "num_heads": heads}) for heads in (2, 1)]
    with torch.no_grad():
        for parameter in decoders[0].parameters():
            parameter.add_(torch.randn_like(parameter))
    decoders[1].load_state_dict(decoders[0].state_dict())
    latent = torch.randn(2, 6, 24)
    one, other = (decoder(latent, PLAN) for decoder in decoders)
    assert one.shape == other.shape and not torch.allclose(one, other, atol=1e-2)
