# MSN without its encoder: views "target", "anchor" and "focal" of a picture, whose class tokens agree on prototypes.
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="RandomMasker", mask_ratio=0.15),  # of the view "anchor"
    encoder=dict(pos_embed="learned"),
    decoder=dict(type="ProjectionDecoder", hidden_dim=2048, depth=3, norm="batch"),
    teacher=dict(
        type="MomentumTeacher",
        momentum=0.996,
        schedule="linear",
        final_momentum=0.9992,  # 1 after 1.25 times the epochs
    ),
    target=dict(type="TeacherPredictionTarget", out_dim=256),
    head=dict(
        type="DistillationHead",
        temperature=0.1,
        target_temperature=0.025,  # sharpened by 0.25
        prototypes=1024,
        sinkhorn=3,
        mean_entropy=1.0,
    ),
    at="image",
    view="anchor",
    views=dict(focal=dict(masker=None, use="predicted"), target=dict(masker=None, use="target")),
)
