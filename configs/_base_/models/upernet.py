# UPerNet for ViT-B; for another depth or width, the leaf says the pyramid's layers and the heads' width.
model = dict(
    type="Segmentor",
    num_classes=150,
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    encoder=dict(
        drop_path_rate=0.1,
        pos_embed="learned",  # loaded from the checkpoint
        layer_scale=1.0,  # has no effect at first
        final_norm=False,  # the pyramid reads raw tokens
    ),
    pyramid=dict(type="LayerPyramid", layers=[4, 6, 8, 12]),
    decode_head=dict(type="UPerHead", width=768, pool_scales=(1, 2, 3, 6), dropout=0.1),
    auxiliary_head=dict(type="FCNHead", level=2, width=256, num_convs=1),
    auxiliary_weight=0.4,
    inference="slide",
    stride=341,
)
