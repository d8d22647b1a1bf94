"""CrossMAE, ViT-H/14, 800 epochs on ImageNet-1K at 224 pixels; of 75 % removed patches a third is predicted.

Command: python tools/train.py configs/crossmae/vit-h_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 86.256 % top-1 fine-tuned on ImageNet-1K (TonyLianLong/CrossMAE); quoted, not run by us.
Deviations from TonyLianLong/CrossMAE: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-h.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    masker=dict(predict_ratio=0.25),
    encoder=dict(_base_.encoder, final_norm=False),
    decoder=dict(_delete_=True, type="CrossAttentionDecoder", embed_dim=512, depth=12, num_heads=16),
)
base_lr = 5e-5  # 1.5e-4 times the share of the removed patches that is predicted
