"""Attentive probe, ViT-B/16, 90 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/attentive_probe/vit-b_90e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this head; with 32 queries 75.5 % top-1 at the best epoch, quoted, not run by us.
One learned query attends to all tokens; then comes the head of the linear probe. Optimiser, batch, epochs and
    crops are those of billpsomas/efficient-probing, whose head has 32 queries.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_probe.py",
    "../_base_/schedules/linear_probe.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="attention", frozen=True, batch_norm=True)
effective_batch_size = 4096
