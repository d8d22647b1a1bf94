"""The numbers of amirbar/StoP: I-JEPA's predictor, with noise in place of the mask token."""

from dataclasses import replace

import torch
from golden import close
from ijepa_model import by_block, published

from maetool.config.load import load_config
from maetool.registry import MODELS
from maetool.structures import part_of_plan
from maetool.targets import MomentumFeatureTarget


def test_prediction_target_loss_and_gradients(data_dir, monkeypatch):
    golden, encoder, decoder, plan = published(data_dir, "stop", query_noise=0.25)
    assert golden["noise_std"] == decoder.query_noise
    latent = encoder(golden["imgs"], plan)
    close(latent, golden["latent"])
    monkeypatch.setattr(decoder, "_noise", lambda asked, like, keys: golden["noise"].transpose(0, 1).flatten(0, 1))
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
    latent = encoder(golden["imgs"], plan)
    noise = decoder._noise(decoder._queries(plan), latent, torch.arange(len(latent)))
    assert noise.shape[2] == 48 and abs(noise.std() - 0.25) < 0.01 and len(noise.unique()) > 0.99 * noise.numel()
    assert not torch.equal(decoder(latent, plan), decoder(latent, plan))  # of plans without keys
    assert torch.equal(decoder.eval()(latent, plan), decoder(latent, plan))
    assert torch.equal(decoder._mask_tokens(decoder._queries(plan), latent, None)[0, 0], decoder.embed.bias)


def test_noise_is_a_function_of_the_key_the_group_and_the_place(data_dir):
    golden, encoder, decoder, plan = published(data_dir, "stop", query_noise=0.25)
    plan = replace(plan, keys=torch.tensor([5, 9, 5])[: len(plan.mask)])
    latent = encoder(golden["imgs"], plan)
    pred = decoder(latent, plan)
    assert torch.equal(pred, decoder(latent, plan))
    alone = part_of_plan(plan, slice(1, 2))  # as in a process that has this sample alone
    close(decoder(latent[1:2], alone), pred[1:2])
    first = replace(plan, ids_predict=plan.ids_predict[:, :1], group=None)  # with fewer predictions beside it
    rows, one = (decoder._noise(decoder._queries(each), latent, each.keys) for each in (plan, first))
    assert torch.equal(rows.unflatten(0, (len(latent), -1))[:, 0, 0], one[:, 0])
    noise = rows.unflatten(0, (len(latent), -1))
    assert not torch.equal(noise[0, 0], noise[1, 0]) and not torch.equal(noise[0, 0], noise[0, 1])


def test_the_loss_is_a_function_of_the_keys_of_the_samples(repository):
    model = MODELS.build(load_config(repository / "configs/stop/vit-t_shapes.py").model).train()
    images, keys = torch.randn(4, 3, 32, 32), torch.tensor([3, 1, 4, 1])
    first, again, other = (model(images, {"key": each})["loss"] for each in (keys, keys, keys + 1))
    assert first == again and first != other
