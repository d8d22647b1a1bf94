"""Pretrains on pictures in class folders, fine-tunes on their labels, and measures, in plain PyTorch.

Command: python examples/plain_pytorch.py FOLDER [--epochs 20] [--size 64]

FOLDER holds train/ and val/, each with a folder for every class. No config, no registry and no runner: the parts are
modules, and the loops are here to be changed.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from maetool.data import (
    ImageFolderDataset,
    ImagePreprocessor,
    KeyedSampler,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ResizeCenterCrop,
)
from maetool.decoders import TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import ImageClassifier
from maetool.targets import PixelTarget

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def loader_of(folder: Path, size: int, train: bool, with_labels: bool) -> DataLoader:
    """Return a loader of pictures, with random crops and a new order each epoch for training."""
    crops = [RandomResizedCrop(size), RandomHorizontalFlip()] if train else [ResizeCenterCrop(size)]
    dataset = ImageFolderDataset(str(folder), pipeline=crops, with_labels=with_labels)
    return DataLoader(dataset, batch_size=32, sampler=KeyedSampler(dataset, shuffle=train))


def pretrain(encoder: nn.Module, loader: DataLoader, epochs: int, normalise: nn.Module) -> list[float]:
    """Train the encoder to reconstruct hidden patches, and return the mean loss of each epoch."""
    target = PixelTarget(encoder.patch_size, norm_pix_loss=True)
    decoder = TransformerDecoder(encoder.embed_dim, target.out_dim, encoder.grid, embed_dim=64, depth=1, num_heads=4)
    decoder.to(DEVICE)
    masker, head, means = RandomMasker(mask_ratio=0.75), RegressionHead(), []
    optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=1e-3, betas=(0.9, 0.95))
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # new crops, flips and masks
        losses = []
        for batch in loader:
            images = normalise(batch)["images"]
            plan = masker(images, encoder.grid_of(images), keys=batch["key"].to(DEVICE))
            loss = head(decoder(encoder(images, plan), plan), target(images, plan), plan)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        means.append(torch.stack(losses).mean().item())
        print(f"pretraining, epoch {epoch + 1}: loss {means[-1]:.3f}")
    return means


def finetune(model: nn.Module, loader: DataLoader, epochs: int, normalise: nn.Module) -> None:
    """Train all of a classifier on the labels."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            inputs = normalise(batch)
            loss = model(inputs["images"], {"label": batch["label"].to(DEVICE)})["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"fine-tuning, epoch {epoch + 1}: loss {loss:.3f}")


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader, normalise: nn.Module) -> float:
    """Return the share of pictures whose class is right, 0 to 1."""
    model.eval()
    right = [
        model(normalise(batch)["images"], mode="predict").argmax(dim=1).cpu() == batch["label"] for batch in loader
    ]
    return torch.cat(right).float().mean().item()


def main() -> None:
    """Pretrain, fine-tune, measure, and save the encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", default="encoder.pth")
    args = parser.parse_args()
    torch.manual_seed(0)
    encoder = VisionTransformer(img_size=args.size, patch_size=args.size // 8, embed_dim=96, depth=4, num_heads=3)
    normalise = ImagePreprocessor().to(DEVICE)
    pretrain(encoder.to(DEVICE), loader_of(args.folder / "train", args.size, True, False), args.epochs, normalise)
    torch.save(encoder.state_dict(), args.out)
    labelled = loader_of(args.folder / "train", args.size, True, True)
    model = ImageClassifier(encoder, len(labelled.dataset.classes), pooling="avg", own_norm=True).to(DEVICE)
    finetune(model, labelled, args.epochs, normalise)
    share = accuracy(model, loader_of(args.folder / "val", args.size, False, True), normalise)
    print(f"{share:.1%} of the validation pictures are right; the pretrained encoder is in {args.out}")


if __name__ == "__main__":
    main()
