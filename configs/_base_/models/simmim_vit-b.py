model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="AlignedMasker", mask_ratio=0.6, unit=2),  # units of 32 pixels
    encoder=dict(
        type="TimmEncoder",
        name="beit_base_patch16_224",
        sees="all",
        drop_path_rate=0.1,
        # One table of relative positions for all blocks, and no others.
        options=dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True, init_values=0.1),
    ),
    decoder=dict(type="LinearDecoder"),
    target=dict(type="PixelTarget", norm_pix_loss=False),
    head=dict(type="RegressionHead", loss="l1"),
)
