# CAPI without its encoder, which is one of encoders/ with `_base_.capi_encoder`, and without sizes.
capi_encoder = dict(
    pos_embed="rotary_box",
    class_token=False,
    num_registers=16,
    qkv_bias=False,
    bias=False,
    norm_layer="rms_1e-5",
    final_norm="fixed",
)
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),
    masker=dict(type="InverseBlockMasker", mask_ratio=0.65, predict_ratio=0.05 * 0.65),
    decoder=dict(
        type="QueryDecoder",
        steps=("cross", "mlp"),
        pos_embed="rotary_box",
        embed_memory=False,
        norm_layer="rms_1e-5",
        bias=False,
        final_norm="fixed",
        output="prototypes",
    ),
    teacher=dict(type="MomentumTeacher", momentum=0.999),
    target=dict(type="ClusterTarget", clusters=16384, temperature=0.06, learning_temperature=0.12),
    head=dict(type="SoftLabelHead", temperature=0.12),
)
