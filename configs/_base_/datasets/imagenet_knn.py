# Every labelled image, as a neighbour or to be classified.
_base_ = "imagenet.py"

val_dataloader = dict(dataset=dict(limit=None))  # all 50,000
val_cfg = dict(bank_dataloader=dict(dataset=dict(limit=None)))  # all 1,281,167
