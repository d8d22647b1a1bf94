# The classifier of MAE's fine-tuning, with mixed and erased images.
_base_ = "classifier.py"

model = dict(
    pooling="avg",
    own_norm=True,
    head_std=2e-5,
    label_smoothing=0.1,
    data_preprocessor=dict(type="AugmentingPreprocessor", mixup_alpha=0.8, cutmix_alpha=1.0, erase_prob=0.25),
)
