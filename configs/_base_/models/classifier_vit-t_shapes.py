model = dict(
    type="ImageClassifier",
    num_classes=8,
    data_preprocessor=dict(type="ImagePreprocessor"),
    encoder=dict(
        type="VisionTransformer",
        img_size=32,
        patch_size=4,
        embed_dim=128,
        depth=4,
        num_heads=4,
        pos_embed="learned",  # from the checkpoint's
    ),
)
