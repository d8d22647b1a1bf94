# MAGE without its generator: codes as input and target, places that are visible, blank or dropped.
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor", mean=None, std=None),  # ids have none
    masker=dict(
        type="VariableMasker",
        ratios=(0.5, 1.0),
        mean=0.55,
        deviation=0.25,
        drop_ratio=0.5,
        per="batch",
        round_up=True,
    ),
    encoder=dict(
        type="StreamTransformer",
        stems=dict(codes=dict(type="TokenStem", codebook=1024, grid=16)),
        embed_dim=768,
        depth=12,
        num_heads=12,
        pos_embed="learned",
        sees="blank",
        pre_norm=True,
    ),
    decoder=dict(
        type="CodebookDecoder",
        decoder=dict(
            type="TransformerDecoder",
            embed_dim=768,
            depth=8,
            num_heads=16,
            pos_embed="learned",
            fill="cls",
        ),
    ),
    target=dict(type="IdTarget"),
    head=dict(type="ClassificationHead", label_smoothing=0.1),
)
