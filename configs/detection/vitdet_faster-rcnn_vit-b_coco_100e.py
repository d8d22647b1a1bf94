"""ViTDet with Faster R-CNN, boxes alone, ViT-B/16, 100 epochs on COCO at 1,024 pixels.

Command: python tools/train.py configs/detection/vitdet_faster-rcnn_vit-b_coco_100e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 64 is accumulated from 1 image a process. Hours: not measured by us.
Expect: no published number; the Mask R-CNN beside it is quoted with 51.6 % box AP.
Deviations from projects/ViTDet of mmdetection: those that all recipes share (docs/methods/README.md); torchvision's
    losses (smooth L1 with a width of 1/9, where it takes L1) and region pooling (cells not shifted by half a pixel);
    bicubic resizing; masks, not polygons, are resized; images without objects stay; warm-up from 0."""

_base_ = [
    "../_base_/encoders/vitdet-b.py",
    "../_base_/models/vitdet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/vitdet.py",
    "../_base_/runtime/objects.py",
]

model = dict(encoder=_base_.encoder, with_masks=False)
