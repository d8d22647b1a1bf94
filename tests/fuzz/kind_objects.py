"""Folders with a file of objects for each image: those of YOLO and Pascal VOC, names of classes, lists of images."""

from damage import text_damaged
from PIL import Image

from maetool.config.layouts.coco import coco_places
from maetool.data.datasets.coco import CocoDataset

BOXES, POLYGON = "1 0.3 0.3 0.4 0.4\n0 0.7 0.5 0.2 0.3\n", "0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n"
YAML = "path: ../data\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: cat\n  1: hot dog\n"
XML = (
    '<?xml version="1.0" encoding="utf-8"?>\n<annotation><size><width>30</width><height>20</height></size>\n'
    "<object><name>dog</name><difficult>0</difficult>\n<bndbox><xmin>7</xmin><ymin>5</ymin><xmax>25</xmax>"
    "<ymax>18</ymax></bndbox></object>\n<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9.5</xmax>"
    "<ymax>12</ymax></bndbox></object></annotation>\n"
)


def make_case(rng, folder):
    voc = rng.random() < 0.4
    texts = {f"Annotations/{i}.xml": XML for i in range(2)} if voc else {}
    if voc:
        texts |= {"ImageSets/Main/train.txt": "0\n2\n", "ImageSets/Main/val.txt": "1\n"}
    else:
        named = rng.random() < 0.6
        texts = {f"labels/{part}/{i}.txt": BOXES + POLYGON for part in ("train", "val") for i in range(2)}
        texts |= {"data.yaml": YAML} if named else {"classes.txt": "cat\nhot dog\n"}
    damaged = None if rng.randrange(10) == 0 else rng.choice(list(texts))
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text_damaged(rng, text) if name == damaged else text.encode())
    for name in (
        f"JPEGImages/{i}.jpg" if voc else f"images/{part}/{i}.jpg" for part in ("train", "val") for i in range(3)
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20)).save(folder / name)
    return folder, voc, damaged is None


def try_case(case):
    folder, voc, whole = case
    for place in coco_places(folder):
        arguments = {name: value for name, value in place.items() if name != "type"}
        data = CocoDataset(**arguments, with_masks=False)
        assert len(data) and 0 < len(data.classes) < 1000
        numbers = []
        for index in range(len(data)):
            objects = data.load(index)["objects"]
            numbers.append(len(objects))
            assert (objects.boxes >= 0).all() and (objects.boxes[:, 2:] > objects.boxes[:, :2]).all()
            assert (objects.boxes <= objects.boxes.new_tensor([30.0, 20, 30, 20])).all()
            assert ((objects.labels >= 0) & (objects.labels < len(data.classes))).all()
        data.describe()
        if whole:
            names = place.get("names", "train")
            expected = ([2, 0] if "train" in names else [2]) if voc else [3, 3, 0]
            assert numbers == expected and data.classes == (["cat", "dog"] if voc else ["cat", "hot dog"])
    return "right"
