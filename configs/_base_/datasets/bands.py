# Pictures of ten bands, drawn from (seed, index): nothing to download.
_base_ = "shapes.py"

train_dataloader = dict(dataset=dict(_delete_=True, type="BandsDataset", num_samples=8000, seed=0))
val_dataloader = dict(dataset=dict(_delete_=True, type="BandsDataset", num_samples=1000, seed=1))
val_cfg = dict(
    bank_dataloader=dict(dataset=dict(_delete_=True, type="BandsDataset", num_samples=1000, seed=2)),
)
