# Nothing is trained: one validation, and the run is over. The optimiser is what a run needs to start.
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype="auto",
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="SGD", lr=0.0),
)
param_scheduler = []
train_cfg = dict(type="ResumableTrainLoop", max_epochs=0, val_at_start=True)
