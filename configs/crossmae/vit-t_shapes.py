"""CrossMAE, a tiny ViT on drawn shapes of 32 pixels; of 75 % removed patches a third is predicted.

Command: python tools/train.py configs/crossmae/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Measured with the other variants in docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    masker=dict(predict_ratio=0.25),
    encoder=dict(_base_.encoder, final_norm=False),
    decoder=dict(_delete_=True, type="CrossAttentionDecoder", embed_dim=96, depth=2, num_heads=4),
)
