# timm's BEiT-B/16 as microsoft/SimMIM sets it up: one table of relative positions for all blocks, and no others.
encoder = dict(
    type="TimmEncoder",
    name="beit_base_patch16_224",
    sees="all",
    options=dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True, init_values=0.1),
)
