# MACRL without its encoder: pixels of a strongly and a weakly changed view, whose images are told from others.
_decoder = dict(type="TransformerDecoder", embed_dim=512, depth=8, num_heads=16)
_pixels = dict(type="PixelTarget", norm_pix_loss=True)
_l1 = dict(type="RegressionHead", loss="l1")

model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="RandomMasker", mask_ratio=0.75),  # of the view "strong"
    decoder=_decoder,
    target=_pixels,
    head=_l1,
    view="strong",
    views=dict(weak=dict(masker=dict(type="RandomMasker", mask_ratio=0.5))),
    teacher=dict(type="MomentumTeacher", momentum=0.99),
    tasks=dict(
        weak=dict(decoder=_decoder, target=_pixels, head=_l1, view="weak"),
        contrast=dict(
            decoder=dict(type="ProjectionDecoder", depth=2, hidden_dim=2048),
            target=dict(type="TeacherPredictionTarget", out_dim=128, of="contrast", sees="visible"),
            head=dict(type="ContrastiveHead", within="batch", temperature=0.2, memory=65536),
            at="image",
            target_view="weak",
        ),
    ),
)
