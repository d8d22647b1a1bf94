model = dict(
    type="ObjectDetector",
    num_classes=7,
    with_masks=True,
    channels=32,
    hidden_dim=128,
    anchors_sampled=64,
    regions_sampled=16,
    num_proposals=100,
    num_found=20,
    data_preprocessor=dict(type="ImagePreprocessor"),
    encoder=dict(
        type="WindowedTransformer",
        img_size=32,
        patch_size=4,
        embed_dim=128,
        depth=4,
        num_heads=4,
        window_size=4,
        global_blocks=(1, 3),
        pos_embed="learned",  # from the checkpoint's
        final_norm=False,
    ),
)
