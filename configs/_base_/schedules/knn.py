# For configs of 0.1 that measure kNN by a training of no epochs; those of configs/knn need none, see maetool test.
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype="auto",
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="SGD", lr=0.0),
)
param_scheduler = []
train_cfg = dict(type="ResumableTrainLoop", max_epochs=0, val_at_start=True)
