"""MR-MAE whose visible patches are those that its teacher, CLIP's ViT-B/16, attends to; ViT-B/16, 400 epochs.

Command: python tools/train.py configs/mrmae/vit-b-attention_400e.py [--data FOLDER], after the teacher's weights are
    written once under timm's names, as docs/methods/maskdistill.md says.
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: see configs/mrmae/vit-b_400e.py; not run by us.
Deviations: no code is published; those of configs/mrmae/vit-b_400e.py, but that the visible patches are not drawn.
"""

_base_ = ["vit-b_400e.py"]

_teacher = _base_.model.tasks.mimic.target

model = dict(
    masker=dict(_delete_=True, type="AttentionMasker", ratios=(0.75, 0.75), unmasked=0.0, choose="low"),
    teacher=dict(_teacher, type="FrozenTeacher"),
    tasks=dict(mimic=dict(target=dict(_delete_=True, type="TeacherFeatureTarget"))),
)
