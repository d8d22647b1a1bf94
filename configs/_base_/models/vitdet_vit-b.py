model = dict(
    type="ObjectDetector",
    num_classes=80,
    with_masks=True,
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    encoder=dict(
        type="WindowedTransformer",
        img_size=1024,
        patch_size=16,
        embed_dim=768,
        depth=12,
        num_heads=12,
        drop_path_rate=0.1,
        window_size=14,
        global_blocks=(2, 5, 8, 11),
        pos_embed="learned",  # from the checkpoint's
        final_norm=False,
    ),
)
