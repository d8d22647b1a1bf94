# A model that predicts numbers.
model = dict(
    type="ImageRegressor",
    num_targets=1,
    loss="huber",
    data_preprocessor=dict(type="ImagePreprocessor"),
)
