"""Files of objects, of COCO, YOLO and Pascal VOC, as flat arrays."""
