"""Convert a published BEiT v2 tokenizer (VQ-KD) for use as a target."""

import argparse
from pathlib import Path


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", help="the published file, for example vqkd_encoder_base_decoder_3x768x12_clip.pth")
    parser.add_argument("--out", required=True, help="file to write, for model.target.codebook")
    return parser.parse_args()


def main() -> None:
    """Convert."""
    args = parse_args()
    from maetool.weights.formats.beitv2 import from_published
    from maetool.weights.read import read_checkpoint, weights_of
    from maetool.weights.write import write_checkpoint
    from maetool.writing import check_file

    out = check_file(args.out, "--out")
    weights = from_published(weights_of(read_checkpoint(args.tokenizer), args.tokenizer))
    write_checkpoint({"meta": {"source": Path(args.tokenizer).name}, "state_dict": weights}, out)
    codes, width = weights["codebook"].shape
    print(f"{args.out}: {len(weights)} tensors, {codes} codes of {width} numbers.")
