"""UPerNet on ConvMAE's hybrid base model, ADE20K at 512 pixels, 160,000 steps.

Command: python tools/train.py configs/segmentation/upernet_hybrid-b_ade20k_160k.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 16 is accumulated. Hours: not measured by us at this size.
Expect: 51.7 % mean IoU after ConvMAE for 1,600 epochs (Alpha-VL/ConvMAE), not run by us.
Deviations from Alpha-VL/ConvMAE: those of upernet_vit-b_ade20k_160k.py; the transformer has neither relative positions
    nor layer scale, the convolutions have no drop path, and the convolution that halves the last map is padded.
"""

_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/segmentation.py",
    "../_base_/runtime/segmentation.py",
]

model = dict(
    encoder=dict(_delete_=True, type="HybridTransformer", img_size=512, drop_path_rate=0.2, final_norm=False),
    pyramid=dict(_delete_=True, type="StagePyramid"),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
