"""CropMAE, ViT-B/16, 400 epochs on ImageNet-1K at 224 pixels; two patches of the local view stay visible.

Command: python tools/train.py configs/cropmae/vit-b_400e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: no published number of this size that we know of.
Deviations from alexandre-eymael/CropMAE: those that all recipes share (docs/methods/README.md); crops are bicubic.
"""

_base_ = "vit-s_400e.py"

model = dict(
    encoder=dict(embed_dim=768, num_heads=12),
    decoder=dict(embed_dim=512, depth=8, num_heads=16),
)
