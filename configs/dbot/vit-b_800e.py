"""dBOT, one stage of 800 epochs, ViT-B/16 on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/dbot/vit-b_800e.py [--data FOLDER], whose teacher has random weights; for each
    further stage the same with --work-dir DIR and --cfg-options model.target.checkpoint=CHECKPOINT of the stage
    before. Both stages: tools/train_stages.sh 2 configs/dbot/vit-b_800e.py WORK_DIR [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 84.5 % top-1 fine-tuned, 52.7 box AP (Cascade) on COCO, 49.5 mIoU on ADE20K after two stages (liuxingbin/dbot);
    quoted, not run by us.
Deviations from liuxingbin/dbot: those that all recipes share (docs/methods/README.md); a stage is a run of its own, so
    that the optimiser starts anew too.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=dict(_base_.encoder, drop_path_rate=0.2),
    decoder=dict(drop_path_rate=0.2, predict_prefix=True),
    target=dict(
        _delete_=True,
        type="FeatureTarget",
        teacher=_base_.encoder,
        layers=[-1],
        predict_prefix=True,
    ),
    head=dict(loss="smooth_l1", beta=2.0),
)
optim_wrapper = dict(clip_grad=dict(max_norm=3.0))
train_cfg = dict(max_epochs=800)
