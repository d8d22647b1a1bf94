"""CCViT, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/ccvit/vit-t_shapes.py, after
    python tools/fit_centroids.py configs/ccvit/vit-t_shapes.py --centroids 256
Hardware: two CPU cores. Results: docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mask_tokens_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

codebook = "work_dirs/tokenizers/centroids_shapes.pth"

model = dict(
    encoder=_base_.encoder,
    masker=dict(_delete_=True, type="AlsoVisibleMasker", masker=_base_.model.masker, number=7),
    corruption=dict(type="NearestCodeCorruption", codebook=codebook),
    target=dict(
        _delete_=True,
        type="TokenTarget",
        codebook=codebook,
        source=dict(type="PictureTarget", norm_pix_loss=False),
    ),
    head=dict(_delete_=True, type="ClassificationHead"),
    tasks=dict(
        pixels=dict(
            decoder=dict(
                type="ClassBottleneckDecoder", block="beit", early_layer=3, depth=1, num_heads=4, layer_scale=0.1
            ),
            target=dict(type="PictureTarget", norm_pix_loss=True),
            head=dict(type="RegressionHead", loss="l2"),
        ),
    ),
)
