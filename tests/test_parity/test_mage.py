"""The numbers of LTH14/mage, from the codes on (tests/data/README.md)."""

import pytest
import torch
from golden import close, gradients, load, load_all

from maetool.maskers import VariableMasker
from maetool.models import MaskedImageModel
from maetool.structures import MaskPlan

LEARNED = {
    "decoder_pos_embed_learned": "decoder.decoder.pos_embed",
    "mlm_layer.fc.weight": "decoder.decoder.pred.weight",
    "mlm_layer.fc.bias": "decoder.decoder.pred.bias",
    "mlm_layer.ln.weight": "decoder.norm.weight",
    "mlm_layer.ln.bias": "decoder.norm.bias",
    "token_emb.LayerNorm.weight": "encoder.norm_pre.weight",
    "token_emb.LayerNorm.bias": "encoder.norm_pre.bias",
}


def ours(state, golden):
    """Return the weights by our names; words and places of one table are apart here."""
    mine = {new: state[old] for old, new in LEARNED.items()}
    for name, value in state.items():
        if name.startswith(("blocks.", "norm.")):
            mine[f"encoder.{name}"] = value
        elif name.startswith("decoder_") and name not in LEARNED:
            mine[f"decoder.decoder.{name.removeprefix('decoder_')}"] = value
    words, places = (state[f"token_emb.{name}_embeddings.weight"] for name in ("word", "position"))
    return mine | {
        "encoder.stems.codes.word_embeddings.weight": words[:64],
        "encoder.positions.tables.codes.pos_embed": places[None, 1:17],
        "encoder.mask_token": words[golden["mask_id"]].view(1, 1, -1),
        "encoder.cls_token": (words[golden["class_id"]] + places[0]).view(1, 1, -1),
        "decoder.bias": state["mlm_layer.bias"][0, 0, :64],
    }


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "mage")
    model = MaskedImageModel(
        masker={"type": "VariableMasker", "ratios": (0.5, 1.0), "drop_ratio": 0.5, "per": "batch", "round_up": True},
        encoder={
            "type": "StreamTransformer",
            "stems": {"codes": {"type": "TokenStem", "codebook": 64, "grid": 4}},
            **{"embed_dim": 24, "depth": 2, "num_heads": 2},
            **{"pos_embed": "learned", "sees": "blank", "pre_norm": True},
        },
        decoder={
            "type": "CodebookDecoder",
            "decoder": {
                **{"type": "TransformerDecoder", "pos_embed": "learned", "fill": "cls"},
                **{"embed_dim": 32, "depth": 2, "num_heads": 4},
            },
        },
        target={"type": "IdTarget"},
        head={"type": "ClassificationHead", "label_smoothing": 0.1},
    )
    load_all(model, ours(state, golden))
    # The smallest noise is dropped, then what is blank, and the largest is seen.
    dropped, removed = (int(golden[name][0].sum()) for name in ("drop_mask", "mask"))
    plan = MaskPlan.from_scores(-golden["noise"], 16 - removed, (4, 4), num_blank=removed - dropped)
    return golden, model, plan


def in_published_order(tokens, plan):
    """Put the tokens (B, 1 + V, D) that enter into raster order, the class token first."""
    order = plan.ids_keep.argsort(dim=1)[..., None].expand(-1, -1, tokens.shape[2])
    return tokens[:, :1], tokens[:, 1:].gather(1, order)


def test_the_plan_has_three_states(case):
    golden, _, plan = case
    close(plan.mask.float(), golden["mask"][:, 1:])
    entering = 1 - golden["drop_mask"][:, 1:]
    close(plan.mask.new_zeros(3, 16).scatter(1, plan.ids_keep, True).float(), entering)


class Draws(list):
    """Stands for the random numbers of a masker: these, one a sample."""

    def uniform(self, number):
        return torch.tensor(self)[:, None]


def test_the_masker_draws_the_published_ratios_and_removes_as_many(case):
    golden, _, plan = case
    options = {"mean": 0.55, "deviation": 0.25, "drop_ratio": 0.5, "round_up": True}
    masker = VariableMasker(**options)
    close(masker.draw_ratio(Draws(golden["rate_probability"].tolist())), golden["rate_quantile"])
    masker = VariableMasker(**options, per="batch")
    masker.draw_ratio = lambda rng: golden["mask_rate"].expand(len(rng))
    own = masker(golden["codes"], (4, 4))
    assert (own.num_keep, own.ids_predict.shape) == (plan.num_keep, plan.ids_predict.shape)
    assert own.blank.sum() == plan.blank.sum() and own.mask.sum() == plan.mask.sum()


def test_what_enters_and_leaves_the_encoder(case):
    golden, model, plan = case
    for layers, name in (([0], "encoder_input"), (None, "latent")):
        tokens = model.encoder(golden["codes"], plan, layers)
        cls, others = in_published_order(tokens if layers is None else tokens[0], plan)
        close(cls, golden[name][:, :1])
        close(others, golden[name][:, 1:])


def test_the_decoder_fills_what_was_not_seen_with_the_class_token(case):
    golden, model, plan = case
    inner, seen = model.decoder.decoder, []
    inner.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0]))
    logits = model.decoder(model.encoder(golden["codes"], plan), plan)
    close(seen[0] - inner.pos_embed, golden["decoder_input"] - inner.pos_embed)
    close(logits, plan.take_predicted(golden["logits_codes"][:, 1:]))


def test_loss_and_gradients(case):
    golden, model, plan = case
    loss = model(golden["codes"], plan=plan)["loss"]
    close(loss, golden["loss"])
    loss.backward()
    found = gradients(model)
    words = golden["grad/token_emb.word_embeddings.weight"]
    close(found["encoder.stems.codes.word_embeddings.weight"], words[:64])
    close(found["encoder.mask_token"].flatten(), words[golden["mask_id"]])
    close(found["encoder.cls_token"].flatten(), words[golden["class_id"]])
    close(
        found["encoder.positions.tables.codes.pos_embed"][0], golden["grad/token_emb.position_embeddings.weight"][1:17]
    )
    close(found["decoder.decoder.pos_embed"], golden["grad/decoder_pos_embed_learned"])
    close(found["decoder.bias"], golden["grad/mlm_layer.bias"][0, 0, :64])
    close(found["decoder.decoder.pred.weight"], golden["grad/mlm_layer.fc.weight"])
    for name in ("blocks.0.attn.qkv.bias", "decoder_embed.weight"):
        part = "decoder.decoder" if name.startswith("decoder_") else "encoder"
        close(found[f"{part}.{name.removeprefix('decoder_')}"], golden[f"grad/{name}"])


def test_no_gradient_reaches_the_words_from_the_logits(case):
    golden, model, plan = case
    latent = model.encoder(golden["codes"], plan).detach()
    model.decoder(latent, plan).sum().backward()
    assert model.encoder.stems["codes"].word_embeddings.weight.grad is None
    assert torch.any(model.decoder.bias.grad != 0)
