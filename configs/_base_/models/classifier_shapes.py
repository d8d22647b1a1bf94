# The classifier of the drawn shapes.
_base_ = "classifier.py"

model = dict(num_classes=8)
