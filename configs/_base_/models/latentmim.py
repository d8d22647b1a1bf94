# Latent MIM without its encoder, which is one of encoders/ with stretched positions and a projection.
_similar = dict(weight=0.1, head=dict(type="SimilarityHead", start=0.75, end=0.25))
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),
    masker=dict(type="RandomMasker", mask_ratio=0.895),  # 20 of 196 are visible
    decoder=dict(
        type="QueryDecoder",
        embed_dim=512,
        depth=3,
        num_heads=16,
        steps=("self", "cross", "mlp"),
        pos_embed="stretched",
        memory_norm=True,
        memory_positions=True,
        class_token=True,
        start="visible",
    ),
    target=dict(type="MomentumFeatureTarget", momentum=0.99, normalise="none", sees="predicted"),
    head=dict(type="ContrastiveHead", temperature=0.2, within="image", standardise=True),
    weight=0.4,  # twice the temperature
    tasks=dict(
        similar_predictions=dict(_similar, reads="main", decoder=dict(type="TokensDecoder", of="predicted")),
        similar_tokens=dict(_similar, at="visible", decoder=dict(type="TokensDecoder"), target=dict(type="ZeroTarget")),
    ),
)
