"""ConvMAE, base model with convolutions in its first two stages, 1,600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/convmae/hybrid-b_1600e.py [--data FOLDER]
Hardware: any; the effective batch of 3072 is accumulated. Hours: not measured by us.
Expect: 85.0 % top-1 fine-tuned and 70.9 % linear on ImageNet-1K (Alpha-VL/ConvMAE); quoted, not run by us.
Deviations from Alpha-VL/ConvMAE: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(type="HybridTransformer", embed_dim=768, depth=11, num_heads=12))
effective_batch_size = 3072
train_cfg = dict(max_epochs=1600)
