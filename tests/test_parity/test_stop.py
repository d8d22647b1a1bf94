"""The numbers of amirbar/StoP: I-JEPA's predictor, with noise in place of the mask token."""

import torch
from golden import close
from ijepa_model import by_block, published

from maetool.targets import MomentumFeatureTarget


def test_prediction_target_loss_and_gradients(data_dir, monkeypatch):
    golden, encoder, decoder, plan = published(data_dir, "stop", query_noise=0.25)
    assert golden["noise_std"] == decoder.query_noise
    latent = encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    monkeypatch.setattr(decoder, "_noise", lambda ids, like: golden["noise"].transpose(0, 1).flatten(0, 1))
    pred = by_block(decoder(latent, plan), 2)
    close(pred, golden["pred"])
    target = by_block(MomentumFeatureTarget(encoder, normalise="layer")(golden["imgs"], plan), 2)
    close(target, golden["target_of_same_encoder"])
    loss = torch.nn.functional.smooth_l1_loss(pred, target)
    close(loss, golden["loss"])
    loss.backward()
    close(decoder.embed.weight.grad, golden["grad/predictor.predictor_embed.weight"])
    close(decoder.embed.bias.grad, golden["grad/predictor.predictor_embed.bias"])
    close(decoder.pred.bias.grad, golden["grad/predictor.predictor_proj.bias"])
    close(encoder.patch_embed.proj.weight.grad, golden["grad/encoder.patch_embed.proj.weight"])


def test_without_noise_it_is_the_predictor_of_ijepa_whose_mask_token_is_zero(data_dir):
    golden, encoder, decoder, plan = published(data_dir, "stop")
    decoder.mask_token.data.zero_()
    close(by_block(decoder(encoder(golden["imgs"], plan), plan), 2), golden["pred_without_noise"])


def test_noise_is_drawn_in_training_alone(data_dir):
    golden, encoder, decoder, plan = published(data_dir, "stop", query_noise=0.25)
    noise = decoder._noise(torch.zeros(8, 500, dtype=torch.int64), torch.zeros(1))
    assert noise.shape == (8, 500, 48) and abs(noise.std() - 0.25) < 0.01
    latent = encoder(golden["imgs"], plan)
    assert not torch.equal(decoder(latent, plan), decoder(latent, plan))
    assert torch.equal(decoder.eval()(latent, plan), decoder(latent, plan))
    assert torch.equal(decoder._mask_tokens(plan.ids_predict, latent)[0, 0], decoder.embed.bias)
