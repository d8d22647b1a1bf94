"""CrossMAE, ViT-B/16, 800 epochs on ImageNet-1K at 224 pixels; all removed patches are predicted, as released.

Command: python tools/train.py configs/crossmae/vit-b_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 83.72 % top-1 fine-tuned on ImageNet-1K (TonyLianLong/CrossMAE); quoted, not run by us.
Deviations from TonyLianLong/CrossMAE: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(_base_.encoder, final_norm=False),
    decoder=dict(_delete_=True, type="CrossAttentionDecoder", embed_dim=512, depth=12, num_heads=16),
)
