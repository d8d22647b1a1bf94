"""The full configs say what the published recipes say."""

import math

import pytest
import torch

from maetool.config.load import complete_config, load_config
from maetool.ops.random import KeyedRandom

#     config                     batch   rate    betas          clip  warm-up  least  epochs
RECIPES = [
    ("maskfeat/vit-b_300e", 2048, 1.6e-3, (0.9, 0.999), 0.02, 30, 1e-6, 300),
    ("pixmim/vit-b_300e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 300),
    ("pixmim/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("dmae/vit-b_100e", 4096, 2.4e-3, (0.9, 0.95), None, 20, 0.0, 100),
    ("bamboo/vit-b_1600e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 1600),
    ("maskdistill/vit-b_300e", 2048, 1.5e-3, (0.9, 0.98), 3.0, 10, 1e-5, 300),
    ("dbot/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), 3.0, 40, 0.0, 800),
    ("mrmae/vit-b_400e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 400),
    ("mrmae/vit-b-attention_400e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 400),
    ("latentmim/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 6e-4, 800),
    ("maskalign/vit-b_200e", 1024, 6e-4, (0.9, 0.95), None, 20, 1e-5, 200),
    ("maskalign/vit-l_200e", 1024, 6e-4, (0.9, 0.95), None, 20, 1e-5, 200),
    ("hpm/vit-b_800e", 2048, 1.2e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("hpm/vit-l_800e", 2048, 1.2e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("beitv2/vit-b_300e", 2048, 1.5e-3, (0.9, 0.98), 3.0, 10, 1e-5, 300),
    ("ccvit/vit-b_300e", 2048, 1.5e-3, (0.9, 0.98), 3.0, 10, 1e-5, 300),
    ("crossmae/vit-s_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("crossmae/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("crossmae/vit-b-quarter_800e", 4096, 8e-4, (0.9, 0.95), None, 40, 0.0, 800),
    ("crossmae/vit-l_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("crossmae/vit-h_800e", 4096, 8e-4, (0.9, 0.95), None, 40, 0.0, 800),
    ("mff/vit-b_300e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 300),
    ("mff/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("localmim/vit-b_1600e", 2048, 1.6e-3, (0.9, 0.95), None, 40, 1e-6, 1600),
    ("localmim/swin-b_400e", 2048, 8e-4, (0.9, 0.95), None, 40, 0.0, 400),
    ("localmim/swin-b-pixels_400e", 2048, 8e-4, (0.9, 0.95), None, 40, 0.0, 400),
    ("localmim/vit-l_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 1e-6, 800),
    ("thorax/vit-s_800e", 2048, 1.2e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("thorax/finetune_vit-s_75e", 1024, 1e-3, (0.9, 0.999), None, 5, 1e-5, 75),
    ("mixedae/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("deblurring/vit-b_12000e", 256, 1.5e-4, (0.9, 0.95), None, 40, 0.0, 12000),
    ("convmae/hybrid-b_1600e", 3072, 1.8e-3, (0.9, 0.95), None, 40, 0.0, 1600),
    ("satmae/vit-b-groups_200e", 4096, 1.6e-3, (0.9, 0.95), None, 20, 0.0, 200),
    ("cropmae/vit-s_400e", 2048, 8e-4, (0.9, 0.95), None, 20, 0.0, 400),
    ("cropmae/vit-b_400e", 2048, 8e-4, (0.9, 0.95), None, 20, 0.0, 400),
    ("siammae/vit-s_400e", 2048, 8e-4, (0.9, 0.95), None, 20, 0.0, 400),
    ("croco/vit-b_400e", 256, 1.5e-4, (0.9, 0.95), None, 40, 0.0, 400),
    ("croco/vit-l-rotary_400e", 256, 1.5e-4, (0.9, 0.95), None, 40, 0.0, 400),
    ("mage/vit-b_1600e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 1600),
    ("videomae/vit-b_800e", 2048, 1.2e-3, (0.9, 0.95), None, 40, 8e-5, 800),
    ("videomae/vit-b_1600e", 2048, 1.2e-3, (0.9, 0.95), None, 40, 8e-5, 1600),
    ("adamae/vit-b_800e", 2048, 1.2e-3, (0.9, 0.95), None, 40, 8e-5, 800),
    ("everest/vit-b_3200e", 192, 7.5e-4, (0.9, 0.95), None, 40, 7.5e-6, 3200),
    ("cae/vit-b_800e", 2048, 1.5e-3, (0.9, 0.999), 3.0, 20, 1e-5, 800),
    ("cae/vit-l_1600e", 2048, 1.5e-3, (0.9, 0.999), 3.0, 40, 1e-5, 1600),
    ("simmim/swin-b_100e", 2048, 8e-4, (0.9, 0.999), 5.0, 10, 4e-5, 100),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe[0])
@pytest.mark.parametrize("world_size", [1, 8])
def test_recipe(repository, recipe, world_size):
    name, batch, rate, betas, clip, warmup, least, epochs = recipe
    cfg = load_config(repository / "configs" / f"{name}.py")
    complete_config(cfg, world_size)
    wrapper = cfg.optim_wrapper
    assert world_size * cfg.train_dataloader.batch_size * wrapper.accumulative_counts == batch
    assert wrapper.optimizer.lr == pytest.approx(rate)
    assert wrapper.optimizer.betas == betas
    assert wrapper.optimizer.weight_decay == 0.05
    assert (wrapper.get("clip_grad") or {}).get("max_norm") == clip
    assert (cfg.param_scheduler[0].warmup_epochs, cfg.param_scheduler[0].min_lr) == (warmup, least)
    assert cfg.train_cfg.max_epochs == epochs


@pytest.mark.parametrize(
    ("name", "rate", "warmup", "least", "epochs"),
    [
        ("ijepa/vit-b_600e", 1e-3, 40, 1e-6, 600),
        ("ijepa/vit-l_600e", 1e-3, 40, 1e-6, 600),
        ("ijepa/vit-h_300e", 1e-3, 40, 1e-6, 300),
        ("ijepa/vit-h-448_300e", 1e-3, 40, 1e-6, 300),
        ("stop/vit-b_600e", 8e-4, 15, 1e-4, 600),
        ("stop/vit-l_600e", 8e-4, 15, 1e-4, 600),
    ],
)
def test_predictors_warm_up_from_above_zero_and_their_weight_decay_rises(repository, name, rate, warmup, least, epochs):
    from mmengine.optim import CosineAnnealingParamScheduler

    cfg = load_config(repository / "configs" / f"{name}.py")
    complete_config(cfg)
    cosine, decay = cfg.param_scheduler
    assert (cosine.start_lr, cosine.warmup_epochs, cosine.min_lr) == (2e-4, warmup, least)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate) and cfg.optim_wrapper.get("clip_grad") is None
    assert cfg.train_cfg.max_epochs == epochs
    optimizer = torch.optim.AdamW([torch.zeros(1)], lr=rate, weight_decay=cfg.optim_wrapper.optimizer.weight_decay)
    shape = {name: value for name, value in decay.items() if name not in ("type", "convert_to_iter_based")}
    assert decay.type == "CosineAnnealingParamScheduler" and decay.convert_to_iter_based
    schedule = CosineAnnealingParamScheduler.build_iter_from_epoch(optimizer, epoch_length=2, end=2, **shape)
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["weight_decay"])
        schedule.step()
    assert seen == pytest.approx([0.22 - 0.18 * math.cos(math.pi * step / 4) for step in range(4)])


def test_rate_and_weight_decay_of_stops_largest_stay_after_250_epochs(repository):
    from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

    cfg = load_config(repository / "configs/stop/vit-h_300e.py")
    complete_config(cfg)
    cfg.param_scheduler[0].accumulation = 1
    optimizer = torch.optim.AdamW([torch.zeros(1)], lr=1e-3, weight_decay=cfg.optim_wrapper.optimizer.weight_decay)
    with DefaultScope.overwrite_default_scope("maetool"):
        shared = {"optimizer": optimizer, "epoch_length": 1}
        schedules = [PARAM_SCHEDULERS.build({**each, **shared}) for each in cfg.param_scheduler]
    seen = []
    for _ in range(300):
        seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]))
        for schedule in schedules:
            schedule.step()
    turned = math.cos(math.pi * 205 / 260), math.cos(math.pi * 245 / 300)
    assert seen[245] == pytest.approx((1e-6 + (1e-3 - 1e-6) * (1 + turned[0]) / 2, 0.4 - 0.36 * (1 + turned[1]) / 2))
    assert seen[251] == seen[275] == seen[299] != seen[245]
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-3) and cfg.model.decoder.query_noise == 0.2


def test_capi_has_two_optimisers_and_slower_groups(repository):
    from mmengine.registry import DefaultScope

    from maetool.registry import MASKERS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS

    cfg = load_config(repository / "configs/capi/vit-l_6400e.py")
    complete_config(cfg)
    for schedule in (*cfg.param_scheduler.main, *cfg.param_scheduler.clusters):
        assert (schedule.warmup_epochs, schedule.cosine_share, schedule.min_lr) == (640, 0.8, 0.0)
    masker = MASKERS.build(cfg.model.masker)
    assert masker.num_keep((16, 16)) == 256 - 166 and masker.num_predict((16, 16)) == 8
    cfg.model.encoder.update(embed_dim=32, depth=1, num_heads=2)
    cfg.model.decoder.update(embed_dim=32, depth=1, num_heads=2)
    cfg.model.target.clusters = 4
    model, constructor = MODELS.build(cfg.model), cfg.optim_wrapper.pop("constructor")
    with DefaultScope.overwrite_default_scope("maetool"):
        build = OPTIM_WRAPPER_CONSTRUCTORS.build({"type": constructor, "optim_wrapper_cfg": cfg.optim_wrapper})
        optimizers = build(model)
    assert cfg.model.teacher.momentum == 0.999 and cfg.model.head.temperature == 0.12
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [
        (names[id(p)], g["lr"], g["weight_decay"])
        for g in optimizers["main"].optimizer.param_groups
        for p in g["params"]
    ]
    for name, rate, decay in groups:
        assert rate == pytest.approx(2e-4 if "patch_embed" in name else 1e-3), name
        assert decay == pytest.approx(0.01 if "norm" in name else 0.1), name
    (clusters,) = optimizers["clusters"].optimizer.param_groups[:1]
    assert (clusters["lr"], clusters["betas"], clusters["weight_decay"]) == (5e-4, (0.9, 0.95), 0.01)


@pytest.mark.parametrize(
    ("name", "masked"), [("maskfeat", 78), ("maskdistill", 78), ("beitv2", 75), ("ccvit", 75), ("cae", 98)]
)
def test_blocks_remove_the_published_number_of_patches(repository, name, masked):
    from maetool.registry import MASKERS

    cfg = load_config(repository / "configs" / name / f"vit-b_{'800' if name == 'cae' else '300'}e.py")
    assert 196 - MASKERS.build(cfg.model.masker).num_keep((14, 14)) == masked


@pytest.mark.parametrize(
    ("name", "visible"), [("cropmae/vit-s_400e", 2), ("siammae/vit-s_400e", 9), ("croco/vit-b_400e", 20)]
)
def test_views_keep_the_published_number_of_patches(repository, name, visible):
    from maetool.registry import MASKERS

    cfg = load_config(repository / f"configs/{name}.py")
    assert MASKERS.build(cfg.model.masker).num_keep((14, 14)) == visible


def test_croco_trains_on_the_first_half_of_a_longer_cosine_and_on_pairs_of_pictures(repository):
    cfg = load_config(repository / "configs/croco/vit-b_400e.py")
    complete_config(cfg)
    longer = {**cfg.param_scheduler[0], "type": "WarmupCosineLR"}
    share = longer["cosine_share"]
    assert (400 - 40) / share + 40 == pytest.approx(800)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.in_chans == 6, "not the encoder's 3"
        assert loader.dataset.pipeline[1]["size"] == (224, 224)


def test_satmae_scales_bands_between_two_deviations_below_and_above_their_means(repository):
    from maetool.registry import MODELS

    cfg = load_config(repository / "configs/satmae/vit-b-groups_200e.py")
    complete_config(cfg)
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.val_cfg.bank_dataloader)
    assert [loader.dataset.in_chans for loader in loaders] == [13] * 3, "the stem's"
    assert [loader.dataset.pipeline[0]["size"] for loader in loaders] == [(96, 96)] * 3
    normalise = MODELS.build(cfg.model.data_preprocessor)
    mean, std = 1184.38, 650.28  # of B2
    images = torch.full((1, 13, 1, 2), mean) + torch.tensor([-2.0, 2.0]) * std
    torch.testing.assert_close(normalise({"inputs": images})["images"][0, 1, 0], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("name", ["swin-b", "vit-b"])
def test_simmim_drops_its_rate_at_epoch_700(repository, name):
    cfg = load_config(repository / f"configs/simmim/{name}_800e.py")
    complete_config(cfg)
    warmup, drop = cfg.param_scheduler
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(4e-4)
    assert (warmup.type, warmup.start_factor * 4e-4, warmup.end) == ("LinearLR", pytest.approx(2e-6), 10)
    assert (drop.type, drop.milestones, drop.gamma) == ("MultiStepLR", [700], 0.1)


def test_crossmae_predicts_a_quarter_at_a_third_of_the_rate(repository):
    from maetool.registry import MASKERS

    masker = MASKERS.build(load_config(repository / "configs/crossmae/vit-b-quarter_800e.py").model.masker)
    assert (masker.num_keep((14, 14)), masker.num_predict((14, 14))) == (49, 49)


@pytest.mark.parametrize(("arch", "rate", "decay", "drop_path"), [("b", 1e-4, 0.65, 0.1), ("l", 9e-5, 0.75, 0.2)])
@pytest.mark.parametrize("world_size", [1, 4])
def test_upernet_on_ade20k(repository, arch, rate, decay, drop_path, world_size):
    cfg = load_config(repository / f"configs/segmentation/upernet_vit-{arch}_ade20k_160k.py")
    complete_config(cfg, world_size)
    wrapper, model = cfg.optim_wrapper, cfg.model
    assert world_size * cfg.train_dataloader.batch_size * wrapper.accumulative_counts == 16
    assert wrapper.optimizer.lr == pytest.approx(rate)
    assert (wrapper.optimizer.betas, wrapper.optimizer.weight_decay) == ((0.9, 0.999), 0.05)
    assert (wrapper.paramwise_cfg.layer_decay, model.encoder.drop_path_rate) == (decay, drop_path)
    assert cfg.train_cfg.max_epochs * (20_210 // 16) == 160_401
    assert model.encoder.layer_scale == 1.0
    assert (model.num_classes, len(cfg.train_dataloader.dataset.classes)) == (150, 150)
    assert (model.encoder.img_size, model.stride, model.auxiliary_weight) == (512, 341, 0.4)
    scale, crop, flip, _ = cfg.train_dataloader.dataset.pipeline
    assert (scale.long_side, scale.short_side, scale.ratio) == (2048, 512, (0.5, 2.0))
    assert (crop.size, crop.max_share, flip.p) == ((512, 512), 0.75, 0.5)


def test_deblurring_shows_the_encoder_what_opencv_blurs(repository):
    import cv2

    from maetool.registry import CORRUPTIONS

    cfg = load_config(repository / "configs/deblurring/vit-b_12000e.py").model
    assert (cfg.at, cfg.masker.mask_ratio, cfg.target.norm_pix_loss) == ("all", 0.75, False)
    picture = torch.randint(0, 256, (40, 50), generator=torch.Generator().manual_seed(0)).float()
    published = torch.from_numpy(cv2.GaussianBlur(picture.numpy(), (0, 0), 1.1, borderType=cv2.BORDER_REFLECT))
    blurred = CORRUPTIONS.build(cfg.corruption)(picture[None, None], None, KeyedRandom(torch.tensor([3])))
    assert (blurred[0, 0] - published).abs().max() < 0.5, "half a grey level"


def test_msn_and_ibot_as_published(repository):
    """Schedules of MSN are for 1.25 times its epochs; views of both have their published sizes and numbers."""
    for name, batch, rate, epochs, crops in (
        ("msn/vit-s_800e", 1024, 1e-3, 800, (224, 1)),
        ("attmask/ibot-s_100e", 240, 4.6875e-4, 100, (224, 2)),
    ):
        cfg = load_config(repository / f"configs/{name}.py")
        complete_config(cfg)
        wrapper, (cosine, decay) = cfg.optim_wrapper, cfg.param_scheduler
        assert cfg.train_dataloader.batch_size * wrapper.accumulative_counts == batch
        assert wrapper.optimizer.lr == pytest.approx(rate) and wrapper.clip_grad.max_norm == 3.0
        assert (wrapper.optimizer.weight_decay, decay.eta_min_ratio, cosine.min_lr) == (0.04, 10.0, 1e-6)
        assert cfg.train_cfg.max_epochs == epochs
        views = cfg.train_dataloader.dataset.pipeline[0]
        large, small = views["views"][cfg.model.view], list(views["views"].values())[-1]
        assert (views.size[0], large.get("crops", 1)) == crops and (small.size, small.crops) == (96, 10)
    msn = load_config(repository / "configs/msn/vit-s_800e.py")
    assert msn.param_scheduler[0].cosine_share == pytest.approx((800 - 15) / (1000 - 15))
    assert msn.model.teacher.final_momentum == pytest.approx(0.996 + 0.004 / 1.25)
    assert msn.model.head.target_temperature == pytest.approx(0.1 * 0.25)


def test_deblurring_is_fine_tuned_and_tested_on_blurred_images(repository):
    cfg = load_config(repository / "configs/deblurring/finetune_vit-b_100e.py")
    complete_config(cfg, 8)
    pipelines = [loader.dataset.pipeline for loader in (cfg.train_dataloader, cfg.val_dataloader)]
    assert [pipeline[-1]["sigma"] for pipeline in pipelines] == [1.1, 1.1]
    assert [len(pipeline) for pipeline in pipelines] == [4, 2], "after the usual transforms"
    wrapper = cfg.optim_wrapper
    assert (wrapper.optimizer.lr, wrapper.optimizer.weight_decay) == (1e-4, 0.01)
    assert 8 * cfg.train_dataloader.batch_size * wrapper.accumulative_counts == 256
