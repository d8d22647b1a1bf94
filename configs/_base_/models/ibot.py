# iBOT without its encoder and masker: crops of a picture learn each other's class token, and masked patches their own.
_projector = dict(type="ProjectionDecoder", bottleneck=256, lengths="learned")  # 2048 wide, three maps
_target = dict(type="TeacherPredictionTarget", out_dim=8192)
_head = dict(
    type="DistillationHead",
    temperature=0.1,
    start_temperature=0.04,  # of the target, which ends at
    target_temperature=0.07,
    warmup=0.3,
    centre=0.9,
)

model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    encoder=dict(sees="all", pos_embed="learned", drop_path_rate=0.1),
    teacher=dict(type="MomentumTeacher", momentum=0.996),
    decoder=_projector,
    target=_target,
    head=_head,
    at="image",
    view="global",
    views={"global": dict(use="target"), "local": dict(masker=None, use="predicted")},
    tasks=dict(
        patches=dict(
            decoder=dict(type="ProjectionDecoder", of="patches", share=True),
            target=dict(**_target, of="patches"),
            head=_head,
            weight=0.5,  # published: the mean over all crops, of which half are not masked
        )
    ),
)
