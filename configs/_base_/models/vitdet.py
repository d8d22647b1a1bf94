# ViTDet without its encoder, which is one of encoders/vitdet-*.py.
model = dict(
    type="ObjectDetector",
    num_classes=80,
    with_masks=True,
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    encoder=dict(
        drop_path_rate=0.1,
        pos_embed="learned",  # loaded from the checkpoint
        final_norm=False,
    ),
)
