"""StoP (FlexPredict), ViT-L/16, 600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/stop/vit-l_600e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: we quote no number of ViT-L.
Deviations from amirbar/StoP: those of configs/stop/vit-b_600e.py.
"""

_base_ = "vit-b_600e.py"

model = dict(
    encoder=dict(embed_dim=1024, depth=24, num_heads=16),
    decoder=dict(depth=12, num_heads=16),
)
