"""Which images of a dataset are used: a part held out, and few labels, drawn so that results can be compared."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.random import sample_keys

VAL_SHARE = 0.2
_SPLIT_SEED, _SPLIT, _FEW = 0, 1, 2  # the split has a seed of its own, so that no seed mixes its two parts


@dataclass(frozen=True)
class Subset:
    """Draws images from each class, a function of the arguments and of the labels alone.

    The draws are nested: 1 % of the labels lies within 10 %, two images of a class within five. An image with several
    labels counts for its rarest class, one with none for a class of their own; of `per_class` each class gets its
    images, so that one with several labels may bring a class above the number.

    Attributes:
        part: "train" and "val" are four and one fifth of each class, the same whatever the other arguments are;
            "all" is both.
        limit: use only this many, evenly spaced over the part: files are often sorted by class, place or patient, so
            that the first ones are alike.
        fraction: of what is left, this share of each class, above 0 to 1, rounded, at least one image.
        per_class: of what is left, this many images of each class, or all where it has fewer.
        seed: another seed is another draw of `fraction` and `per_class`.

    Raises:
        UsageError: an argument that makes no sense.
    """

    part: str = "all"
    limit: int | None = None
    fraction: float | None = None
    per_class: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.part not in ("all", "train", "val"):
            raise UsageError(f'part is {self.part!r}, but must be "all", "train" or "val".')
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise UsageError(f"limit is {self.limit!r}: give a number of images, at least 1, or None for all.")
        if self.fraction is not None and self.per_class is not None:
            raise UsageError("labels_fraction and labels_per_class are both given: choose one of them.")
        if self.fraction is not None and (isinstance(self.fraction, str) or not 0 < self.fraction <= 1):
            raise UsageError(f"labels_fraction is {self.fraction!r}: give a share above 0 and up to 1, such as 0.01.")
        if self.per_class is not None and (type(self.per_class) is not int or self.per_class < 1):
            raise UsageError(f"labels_per_class is {self.per_class!r}: give a number of images, at least 1.")

    def choose(
        self,
        count: int,
        labels: Tensor | None,
        groups: Tensor | None = None,
        held_out: Tensor | None = None,
    ) -> Tensor:
        """Return the indices of the images in use, int64, ascending.

        Args:
            count: number of images N.
            labels: int64 (N,), float32 (N, K) of zeros and ones, or None.
            groups: int64 (N,), the group of each image, such as its patient: `part`, `fraction` and `per_class` take
                all of its images or none, so that the numbers are met as nearly as groups allow.
            held_out: bool (N,), what `part` holds out, such as a fold, in place of a fifth.

        Raises:
            UsageError: few labels are asked for where there are none, or a part of images that are all of one group.
        """
        chosen = torch.arange(count)
        strata = _strata(labels, count)
        if self.part != "all":
            if held_out is None:
                held_out = _held_out(strata) if groups is None else groups_held_out(strata, groups)
            if count and not held_out.any():
                raise UsageError(
                    f"None of the {count} images can be held out for validation, because every class has one image: "
                    "give each class two or more, name a validation part, or check that the labels are classes."
                )
            chosen = chosen[held_out if self.part == "val" else ~held_out]
        chosen = chosen[evenly_spaced(len(chosen), self.limit)]
        if self.fraction is None and self.per_class is None:
            return chosen
        if labels is None:
            raise UsageError("labels_fraction and labels_per_class choose among labels, but the images have none.")
        if groups is not None:
            return chosen[self._few_groups(strata[chosen], labels[chosen], groups[chosen])]
        keys = sample_keys(self.seed, _FEW, chosen)
        if self.fraction is not None:
            rank, size = _ranks(strata[chosen], keys)
            return chosen[rank < (self.fraction * size + 0.5).floor().clamp(min=1)]
        return chosen[_first_of_each(labels[chosen], keys, self.per_class)]

    def _few_groups(self, strata: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return which images, bool (N,), are in use; a group that one class needs is there with all its images."""
        groups = groups.unique(return_inverse=True)[1]
        keys = sample_keys(self.seed, _FEW, torch.arange(int(groups.max()) + 1))
        if self.fraction is not None:
            members = [strata == stratum for stratum in strata.unique().tolist()]
            numbers = [self.fraction * int(each.sum()) for each in members]
        else:
            members = _members(labels)
            numbers = [float(self.per_class or 0)] * len(members)
        taken = torch.zeros(len(keys), dtype=torch.bool)
        for each, number in zip(members, numbers, strict=True):
            taken |= first_groups(torch.bincount(groups, each.float(), minlength=len(keys)), keys, number)
        return taken[groups]


def evenly_spaced(count: int, limit: int | None) -> Tensor:
    """Return `limit` indices below `count`, int64, evenly spaced and ascending; all where there are no more, or None.

    This is what `limit` means wherever it is an argument.
    """
    number = count if limit is None else min(limit, count)
    return torch.arange(number) * count // max(1, number)


def _strata(labels: Tensor | None, count: int) -> Tensor:
    if labels is None:
        return torch.zeros(count, dtype=torch.int64)
    if labels.ndim == 1:
        return labels
    has = labels > 0  # (N, K); not where a label is unknown
    sizes = torch.where(has, has.sum(dim=0), torch.inf)
    return torch.where(has.any(dim=1), sizes.argmin(dim=1), labels.shape[1])


def _held_out(strata: Tensor) -> Tensor:
    rank, size = _ranks(strata, sample_keys(_SPLIT_SEED, _SPLIT, torch.arange(len(strata))))
    share = (VAL_SHARE * size + 0.5).floor().clamp(min=1)
    return rank < torch.minimum(share, size - 1)  # a class of one image is for training


def _ranks(strata: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's place among those of its stratum in the order of `keys`, and how many those are."""
    order = torch.from_numpy(np.lexsort((keys.numpy(), strata.numpy())))
    sizes = strata.bincount()
    first = sizes.cumsum(0) - sizes
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - first[strata[order]]
    return rank, sizes[strata]


def _first_of_each(labels: Tensor, keys: Tensor, number: int) -> Tensor:
    if labels.ndim == 1:
        return _ranks(labels, keys)[0] < number
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for column in _members(labels):
        members = column.nonzero().flatten()
        chosen[members[keys[members].argsort(stable=True)[:number]]] = True
    return chosen


def _members(labels: Tensor) -> list[Tensor]:
    """Return which images, bool (N,), are of each class, and last of none where an image may have several."""
    if labels.ndim == 1:
        return [labels == label for label in labels.unique().tolist()]
    return [*(labels > 0).T, ~(labels > 0).any(dim=1)]


def groups_held_out(strata: Tensor, groups: Tensor) -> Tensor:
    """Return which images, bool (N,), are held out: all those of about a fifth of the groups.

    A group counts for the stratum that most of its images are of.

    Args:
        strata: int64 (N,), such as the class of each image.
        groups: int64 (N,), such as the patient of each image.

    Raises:
        UsageError: all images are of one group.
    """
    groups = groups.unique(return_inverse=True)[1]
    count = int(groups.max()) + 1
    if count < 2:
        raise UsageError(
            "All images are of one group, such as a patient or a file of frames, so that none can be held out: "
            'check group_column, or use part="all".'
        )
    pairs = torch.zeros(count, int(strata.max()) + 1).index_put_((groups, strata), torch.ones(()), accumulate=True)
    of_group, sizes = pairs.argmax(dim=1), pairs.sum(dim=1)
    keys = sample_keys(_SPLIT_SEED, _SPLIT, torch.arange(count))
    held_out = torch.zeros(count, dtype=torch.bool)
    for stratum in of_group.unique().tolist():
        inside = of_group == stratum
        if inside.sum() > 1:  # a class of one group is for training
            held_out |= first_groups(sizes * inside, keys, VAL_SHARE * float(sizes[inside].sum()), keep=1)
    if not held_out.any():
        held_out = first_groups(sizes, keys, VAL_SHARE * len(groups), keep=1)
    return held_out[groups]


def first_groups(sizes: Tensor, keys: Tensor, number: float, keep: int = 0) -> Tensor:
    """Return which groups, bool (G,), come first in the order of their keys until they have about `number` images.

    Args:
        sizes: images of each group that count, (G,); those with none are left out.
        keys: int64 (G,).
        number: of images; at least one group is taken, where one has images.
        keep: groups that are not taken in any case, the last ones.
    """
    order = keys.argsort(stable=True)
    order = order[sizes[order] > 0]
    order = order[: len(order) - keep]
    ends = sizes[order].cumsum(0)
    near = ends - sizes[order] / 2 <= number
    near[:1] = True
    taken = torch.zeros(len(keys), dtype=torch.bool)
    taken[order[near]] = True
    return taken
