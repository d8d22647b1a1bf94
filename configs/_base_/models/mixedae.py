# MAE of four images in one input, whose visible patches are told apart; the leaf says the encoder, a MixedTransformer.
_base_ = "mae.py"

model = dict(
    masker=dict(_delete_=True, type="GroupMasker", images=4),
    tasks=dict(
        recognise=dict(
            at="visible",
            weight=0.1,
            decoder=dict(type="VisibleDecoder"),
            target=dict(type="SampleTarget", out_dim=128),
            head=dict(type="SupervisedContrastiveHead", temperature=0.25, images=4),
        ),
    ),
)
