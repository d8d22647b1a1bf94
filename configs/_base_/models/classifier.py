# A classifier without its encoder, which is one of encoders/: model = dict(encoder=_base_.encoder).
model = dict(
    type="ImageClassifier",
    num_classes=1000,
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    encoder=dict(pos_embed="learned"),  # loaded from the checkpoint
)
