model = dict(
    type="ImageClassifier",
    num_classes=1000,
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    encoder=dict(
        type="VisionTransformer",
        img_size=224,
        patch_size=14,
        embed_dim=1280,
        depth=32,
        num_heads=16,
        pos_embed="learned",  # from the checkpoint's
    ),
)
