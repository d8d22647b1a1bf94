"""ViTDet with Mask R-CNN, ViT-L/16, 100 epochs on COCO at 1,024 pixels.

Command: python tools/train.py configs/detection/vitdet_mask-rcnn_vit-l_coco_100e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 64 is accumulated from 1 image a process. Hours: not measured by us.
Expect: 55.5 % box AP and 49.2 % mask AP with MAE's weights on 64 A100 (detectron2, projects/ViTDet); quoted, not run.
Deviations from projects/ViTDet of mmdetection: those that all recipes share (docs/methods/README.md); torchvision's
    losses (smooth L1 with a width of 1/9, where it takes L1) and region pooling (cells not shifted by half a pixel);
    bicubic resizing; masks, not polygons, are resized; images without objects stay; warm-up from 0."""

_base_ = [
    "../_base_/encoders/vitdet-l.py",
    "../_base_/models/vitdet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/vitdet.py",
    "../_base_/runtime/objects.py",
]

model = dict(encoder=dict(_base_.encoder, drop_path_rate=0.4))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.8))
