"""Pretrains the model of a config with Lightning, whose trainer then does what maetool's runner would.

Command: python examples/lightning_module.py [CONFIG] [--epochs 2] [--steps 50]
Needs: pip install lightning

The model, the data and the optimizer's groups are those of the config. Lightning calls `set_epoch` of the sampler, so
crops, flips and masks change every epoch.
"""

import argparse
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from maetool.config.load import load_config
from maetool.config.prepare import prepare_config
from maetool.data import KeyedSampler, collate_samples
from maetool.registry import DATASETS, MODELS


class MaskedModel(lightning.LightningModule):
    """Any model of maetool: its losses are logged, and `loss` is minimised.

    Args:
        cfg: a prepared config.
        lr: peak learning rate.
    """

    def __init__(self, cfg: Any, lr: float = 1.5e-3) -> None:
        super().__init__()
        self.model, self.lr = MODELS.build(cfg.model), lr

    def training_step(self, batch: dict[str, Any], _: int) -> torch.Tensor:
        """Return the loss of a batch of stored images."""
        losses = self.model(**self.model.data_preprocessor(batch, training=True))
        self.log_dict({name: value for name, value in losses.items() if value.ndim == 0}, prog_bar=True)
        return losses["loss"]

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the parts do what they do after each step, such as moving a teacher on."""
        self.model.after_step(self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW, without weight decay of biases and norms."""
        decayed = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.95))


def loader_of(cfg: Any) -> DataLoader:
    """Return the training data of a config, each sample with the key of its randomness."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    size = cfg.train_dataloader.batch_size
    return DataLoader(dataset, size, sampler=KeyedSampler(dataset), collate_fn=collate_samples, drop_last=True)


def main() -> None:
    """Train, and say where the checkpoint is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="maetool::mae/vit-t_shapes.py")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=-1)
    parser.add_argument("--out", default="work_dirs/lightning")
    args = parser.parse_args()
    cfg = load_config(args.config)
    prepare_config(cfg)
    lightning.seed_everything(0)
    trainer = lightning.Trainer(max_epochs=args.epochs, max_steps=args.steps, default_root_dir=args.out)
    trainer.fit(MaskedModel(cfg), loader_of(cfg))
    path = trainer.checkpoint_callback.best_model_path
    print(f'maetool.load_encoder("{path}", config="{args.config}") loads the encoder.')


if __name__ == "__main__":
    main()
