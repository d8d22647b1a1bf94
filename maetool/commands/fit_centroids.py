"""Fit the centroids of a config's token target to training patches."""

import argparse

from maetool.arguments import add_cfg_options, add_max_pixels, positive

INTERRUPTED = "Stopped; nothing was written."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a config whose target is TokenTarget, for example maetool::ccvit/vit-b_300e.py")
    parser.add_argument("--data", metavar="FOLDER", help="use these images instead of the config's training data")
    parser.add_argument("--out", help="file to write (default: the config's model.target.codebook)")
    parser.add_argument("--centroids", type=positive, default=8192, help="number of centroids (default: %(default)s)")
    parser.add_argument("--patches", type=positive, default=64, help="patches per centroid (default: %(default)s)")
    parser.add_argument(
        "--iterations", type=positive, default=20, help="maximum number of k-means iterations (default: %(default)s)"
    )
    add_cfg_options(parser)
    add_max_pixels(parser)
    return parser.parse_args()


def main() -> None:
    """Fit and write."""
    args = parse_args()
    # Imported here so that --help answers at once.
    from maetool.config.load import load_for
    from maetool.config.user_data import limit_pixels
    from maetool.engine.centroids import fit_centroids, units_of
    from maetool.metadata.stored_config import stored_facts
    from maetool.weights.write import write_checkpoint
    from maetool.writing import check_file

    cfg, _ = load_for(args.config, args.cfg_options, args.data)
    limit_pixels(cfg.train_dataloader.dataset, args.max_pixels)
    out = check_file(args.out or str(cfg.model.target.get("codebook")), "--out")
    centroids = fit_centroids(cfg, args.centroids, args.patches, args.iterations, print)
    facts = {**stored_facts(cfg), "patches": args.patches, "iterations": args.iterations}
    facts |= {"units": units_of(cfg)} if units_of(cfg) else {}
    write_checkpoint({"meta": facts, "state_dict": {"codebook": centroids}}, out)
    print(f"{out}: {len(centroids)} centroids of {centroids.shape[1]} numbers.")
