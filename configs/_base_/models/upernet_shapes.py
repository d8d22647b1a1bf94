# UPerNet for the drawn shapes.
model = dict(
    type="Segmentor",
    num_classes=8,
    data_preprocessor=dict(type="ImagePreprocessor"),
    encoder=dict(
        pos_embed="learned",  # loaded from the checkpoint
        final_norm=False,
    ),
    pyramid=dict(type="LayerPyramid", layers=[1, 2, 3, 4]),
    decode_head=dict(type="UPerHead", width=32, pool_scales=(1, 2, 4)),
    auxiliary_head=dict(type="FCNHead", level=2, width=32),
    class_weight=[0.2] + [1.0] * 7,  # 86 % of the pixels are background, which alone would be predicted for long
    inference="whole",
)
