"""The full configs say what the published recipes say."""

import pytest

from maetool.engine.config import complete_config, load_config

#     config                     batch   rate    betas          clip  warm-up  least  epochs
RECIPES = [
    ("maskfeat/vit-b_300e", 2048, 1.6e-3, (0.9, 0.999), 0.02, 30, 1e-6, 300),
    ("pixmim/vit-b_300e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 300),
    ("pixmim/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 800),
    ("maskdistill/vit-b_300e", 2048, 1.5e-3, (0.9, 0.98), 3.0, 10, 1e-5, 300),
    ("dbot/vit-b_800e", 4096, 2.4e-3, (0.9, 0.95), 3.0, 40, 0.0, 800),
    ("mrmae/vit-b_400e", 4096, 2.4e-3, (0.9, 0.95), None, 40, 0.0, 400),
    ("beitv2/vit-b_300e", 2048, 1.5e-3, (0.9, 0.98), 3.0, 10, 1e-5, 300),
    ("ccvit/vit-b_300e", 2048, 1.5e-3, (0.9, 0.98), 3.0, 10, 1e-5, 300),
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


@pytest.mark.parametrize(("name", "masked"), [("maskfeat", 78), ("maskdistill", 78), ("beitv2", 75), ("ccvit", 75)])
def test_blocks_remove_the_published_number_of_patches(repository, name, masked):
    from maetool.registry import MASKERS

    cfg = load_config(repository / "configs" / name / "vit-b_300e.py")
    assert 196 - MASKERS.build(cfg.model.masker).num_keep((14, 14)) == masked
