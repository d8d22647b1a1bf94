"""The numbers of LTH14/mage, from the codes on (tests/data/README.md)."""

import pytest
from golden import close, load, load_all
from torch import nn

from maetool.decoders import TransformerDecoder
from maetool.encoders import StreamTransformer
from maetool.structures import MaskPlan


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "mage")
    encoder = StreamTransformer(
        {"codes": {"type": "TokenStem", "codebook": 64, "grid": 4}},
        *(24, 2, 2),
        pos_embed="learned",
        sees="blank",
        pre_norm=True,
    ).eval()
    words, places = (state[f"token_emb.{name}_embeddings.weight"] for name in ("word", "position"))
    mine = {n: v for n, v in state.items() if n.startswith(("blocks.", "norm."))}
    mine |= {f"norm_pre.{n}": state[f"token_emb.LayerNorm.{n}"] for n in ("weight", "bias")}
    mine |= {
        "stems.codes.word_embeddings.weight": words[:64],
        "positions.tables.codes.pos_embed": places[None, 1:17],
        "mask_token": words[golden["mask_id"]].view(1, 1, -1),
        "cls_token": (words[golden["class_id"]] + places[0]).view(1, 1, -1),
    }
    load_all(encoder, mine)
    # The smallest noise is dropped, then what is blank, and the largest is seen.
    dropped, removed = (int(golden[name][0].sum()) for name in ("drop_mask", "mask"))
    plan = MaskPlan.from_scores(-golden["noise"], 16 - removed, (4, 4), num_blank=removed - dropped)
    return golden, state, encoder, plan


def in_published_order(tokens, plan):
    """Put the tokens (B, 1 + V, D) that enter into raster order, the class token first."""
    order = plan.ids_keep.argsort(dim=1)[..., None].expand(-1, -1, tokens.shape[2])
    return tokens[:, :1], tokens[:, 1:].gather(1, order)


def test_the_plan_has_three_states(case):
    golden, _, _, plan = case
    close(plan.mask.float(), golden["mask"][:, 1:])
    entering = 1 - golden["drop_mask"][:, 1:]
    close(plan.mask.new_zeros(3, 16).scatter(1, plan.ids_keep, True).float(), entering)


def test_what_enters_and_leaves_the_encoder(case):
    golden, _, encoder, plan = case
    for layers, name in (([0], "encoder_input"), (None, "latent")):
        tokens = encoder(golden["codes"], plan, layers)
        cls, others = in_published_order(tokens if layers is None else tokens[0], plan)
        close(cls, golden[name][:, :1])
        close(others, golden[name][:, 1:])


def test_the_decoder_fills_what_was_not_seen_with_the_class_token(case):
    golden, state, encoder, plan = case
    decoder = TransformerDecoder(24, 24, (4, 4), 1, 32, 2, 4, pos_embed="learned", fill="cls")
    names = {
        "decoder_pos_embed_learned": "pos_embed",
        "mlm_layer.fc.weight": "pred.weight",
        "mlm_layer.fc.bias": "pred.bias",
    }
    mine = {n.removeprefix("decoder_"): v for n, v in state.items() if n.startswith("decoder_") and n not in names}
    load_all(decoder, {**mine, **{new: state[old] for old, new in names.items()}})
    seen = []
    decoder.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0]))
    x = decoder(encoder(golden["codes"], plan), plan)  # (B, M, 24), as wide as a word
    close(seen[0] - decoder.pos_embed, golden["decoder_input"] - decoder.pos_embed)
    gain, bias = state["mlm_layer.ln.weight"], state["mlm_layer.ln.bias"]
    x = nn.functional.layer_norm(nn.functional.gelu(x), (24,), gain, bias, eps=1e-5)
    logits = x @ state["token_emb.word_embeddings.weight"][:64].T + state["mlm_layer.bias"][..., :64]
    close(logits, plan.take_predicted(golden["logits_codes"][:, 1:]))
