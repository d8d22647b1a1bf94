# ViTDet for the drawn shapes: narrow heads, few regions.
model = dict(
    type="ObjectDetector",
    num_classes=7,
    with_masks=True,
    channels=32,
    hidden_dim=128,
    anchors_sampled=64,
    regions_sampled=16,
    num_proposals=100,
    max_detections=20,
    data_preprocessor=dict(type="ImagePreprocessor"),
    encoder=dict(
        pos_embed="learned",  # loaded from the checkpoint
        final_norm=False,
    ),
)
