"""Mask R-CNN with a feature pyramid on the stages of ConvMAE's hybrid base model, 25 epochs on COCO at 1,024 pixels.

Command: python tools/train.py configs/detection/fpn_mask-rcnn_hybrid-b_coco_25e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 32 is accumulated from 1 image a process. Hours: not measured by us.
Expect: 53.2 % box AP and 47.1 % mask AP after ConvMAE for 1,600 epochs (Alpha-VL/ConvMAE); quoted, not run.
Deviations from Alpha-VL/ConvMAE: those of vitdet_mask-rcnn_vit-b_coco_100e.py; all blocks of the transformer attend
    globally, without relative positions, where seven of eleven attend in windows of 16; layer norms in the pyramid and
    heads, where batch norms span all processes; the convolutions have no drop path.
"""

_base_ = [
    "../_base_/models/vitdet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/vitdet.py",
    "../_base_/runtime/objects.py",
]

model = dict(
    encoder=dict(_delete_=True, type="HybridTransformer", img_size=1024, drop_path_rate=0.1, final_norm=False),
    pyramid=dict(type="StageFPN"),
)
base_lr = 6.4e-4  # per 256 images: 8e-5 at the batch of 32
effective_batch_size = 32
optim_wrapper = dict(constructor="DecayGroupsConstructor", paramwise_cfg=dict(_delete_=True))
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=0.125, min_lr=0.0)]
train_cfg = dict(max_epochs=25)
