# Drawn pictures without their colours, by which crops of one picture could be told from those of others.
_base_ = ["shapes.py"]

grey = dict(type="torchvision.transforms.v2.RandomGrayscale", p=1.0)
_pipeline = dict(dataset=dict(pipeline=[grey]))

train_dataloader = _pipeline
val_dataloader = _pipeline
val_cfg = dict(bank_dataloader=_pipeline)
