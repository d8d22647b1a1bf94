# HPM without its encoder: beside pixels their loss is predicted, and what an average predicts to be hard is hidden.
_base_ = "mae.py"

model = dict(
    masker=dict(type="HardPatchMasker", hard_share=(0.0, 0.5)),
    target=dict(norm_pix_loss=False),
    teacher=dict(
        type="MomentumTeacher",
        predicts="hardness",
        momentum=0.999,
        final_momentum=0.9999,
        schedule="linear",
        until=0.125,
    ),
    tasks=dict(
        hardness=dict(
            decoder=dict(type="BranchDecoder", depth=8),
            target=dict(type="ErrorTarget", standardise=False),
            head=dict(type="RankingHead"),
        ),
    ),
)
