"""Which features a deep linear model learns first, by predicting pixels or latents.

Command: python examples/jepa_theory.py [--layers 2] [--start 0.15]

A feature i of one view x has the variance s_i, and the covariance c_i with that of another view y: the best
prediction of y is r_i x with r_i = c_i / s_i. Features of equal c are equally strong, but those of a large r are more
certain: they have less noise. An encoder of several square matrices W and a predictor V begin near zero and follow the
gradient of

    pixels (MAE):    E |V W x - y|^2 / 2
    latents (JEPA):  E |V W x - W y|^2 / 2, no gradient through W y.

For each feature the time is printed that its entry of V W takes to reach half of what it converges to. Pixels are
learned in the order of c, whatever r is; latents of several layers also in that of r.
Source: Littwin et al., "How JEPA avoids noisy features", 2024.
"""

import argparse

import torch
from torch import Tensor

COVARIANCE = torch.tensor([1.0, 1.0, 0.8, 0.8])  # c
CERTAINTY = torch.tensor([1.0, 0.4, 1.0, 0.4])  # r


def half_times(latent: bool, layers: int, start: float, step: float = 0.02) -> Tensor:
    """Return the time that each feature takes to reach half of its limit, (4,).

    Args:
        latent: predict latents instead of pixels.
        layers: matrices of the encoder.
        start: of the diagonals of all matrices.
        step: of the gradient flow.
    """
    variance, covariance = torch.diag(COVARIANCE / CERTAINTY), torch.diag(COVARIANCE)
    *encoder, predictor = matrices = [(start * torch.eye(4)).requires_grad_() for _ in range(layers + 1)]
    limit = CERTAINTY ** (layers + 1 if latent else 1)
    times, now = torch.full((4,), torch.inf), 0.0
    while times.isinf().any():
        encoded = torch.linalg.multi_dot([torch.eye(4), *encoder])
        product, target = encoded @ predictor, encoded.detach() if latent else torch.eye(4)
        reached = product.detach().diagonal() >= limit / 2
        times = torch.where(reached & times.isinf(), now, times)
        # The terms of the expectation that depend on the matrices.
        loss = (product.T @ variance @ product).trace() / 2 - (product.T @ covariance @ target).trace()
        with torch.no_grad():
            for matrix, gradient in zip(matrices, torch.autograd.grad(loss, matrices), strict=True):
                matrix -= step * gradient
        now += step
    return times


def parse_args() -> argparse.Namespace:
    """Return the arguments of the command."""
    parser = argparse.ArgumentParser(description="Which features a deep linear model learns first.")
    parser.add_argument("--layers", type=int, default=2, help="matrices of the encoder")
    parser.add_argument("--start", type=float, default=0.15, help="of their diagonals")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    """Print a table of times."""
    pixels, latents = (half_times(latent, args.layers, args.start) for latent in (False, True))
    print("covariance  certainty  pixels  latents")
    for row in zip(COVARIANCE, CERTAINTY, pixels, latents, strict=True):
        print("{:10.1f} {:10.1f} {:7.1f} {:8.1f}".format(*map(float, row)))


if __name__ == "__main__":
    main(parse_args())
