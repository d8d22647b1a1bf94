"""LocalMIM with normalised pixels as targets, Swin-B, 400 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/localmim/swin-b-pixels_400e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 84.0 % top-1 fine-tuned on ImageNet-1K (Haoqing-Wang/LocalMIM); quoted, not run by us.
Deviations from Haoqing-Wang/LocalMIM: those of swin-b_400e.py but for the gradients.
"""

_base_ = ["swin-b_400e.py"]

_pixels = dict(_delete_=True, type="PixelTarget")

model = dict(
    target=_pixels,
    tasks=dict(
        stage1=dict(target=dict(_delete_=True, type="CellTarget", target=dict(type="PixelTarget"), cell_size=8)),
        stage2=dict(target=dict(_delete_=True, type="CellTarget", target=dict(type="PixelTarget"), cell_size=16)),
        stage3=dict(target=_pixels),
    ),
)
custom_hooks = dict(pictures=dict(_delete_=True, type="ReconstructionHook"))
