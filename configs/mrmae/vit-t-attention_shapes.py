"""MR-MAE whose visible patches are those that its teacher, a tiny MAE, attends to; a tiny ViT on drawn shapes.

Command: python tools/train.py configs/mrmae/vit-t-attention_shapes.py, after
    python tools/train.py configs/mae/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/mrmae.md.
"""

_base_ = ["vit-t_shapes.py"]

_teacher = _base_.model.tasks.mimic.target

model = dict(
    masker=dict(_delete_=True, type="AttentionMasker", ratios=(0.75, 0.75), unmasked=0.0, choose="low"),
    teacher=dict(_teacher, type="FrozenTeacher"),
    tasks=dict(mimic=dict(target=dict(_delete_=True, type="TeacherFeatureTarget"))),
)
