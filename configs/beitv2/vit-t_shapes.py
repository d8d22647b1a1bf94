"""BEiT v2 with a k-means codebook of a tiny MAE's features as tokenizer: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/beitv2/vit-t_shapes.py, after
    python tools/train.py configs/mae/vit-t_shapes.py
    python tools/fit_centroids.py configs/beitv2/vit-t_shapes.py --centroids 256
Hardware: two CPU cores. Results: docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mask_tokens_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    target=dict(
        _delete_=True,
        type="TokenTarget",
        codebook="work_dirs/tokenizers/mae_vit-t_shapes.pth",
        source=dict(
            type="FeatureTarget",
            teacher=_base_.encoder,
            checkpoint="work_dirs/mae_vit-t_shapes/epoch_10.pth",
            made_by="python tools/train.py configs/mae/vit-t_shapes.py",
        ),
    ),
    head=dict(_delete_=True, type="ClassificationHead"),
    tasks=dict(
        gathered=dict(
            decoder=dict(
                type="ClassBottleneckDecoder",
                block="beit",
                early_layer=3,
                depth=1,
                num_heads=4,
                layer_scale=0.1,
                share_output=True,
            ),
            head=dict(type="ClassificationHead"),
        ),
    ),
)
