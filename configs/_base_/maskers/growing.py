# LMD's masks: 15 % of the patches at first, 75 % after two thirds of the training.
growing = dict(
    type="ScheduledMasker",
    maskers=[dict(type="RandomMasker")],
    mask_ratios=(0.15, 0.75, 0.75),
    ratio_at=(0, 2 / 3, 1),
    curve="cosine",
)
