default_scope = "maetool"
runner_type = "maetool.engine.runner.MaetoolRunner"  # for scripts of MMEngine's kind, which build what this names
randomness = dict(seed=0, diff_rank_seed=False)  # the keys of the samples differ, so the processes need not
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl", timeout=600),  # seconds after which a process that does not answer ends the job
)
log_processor = dict(type="PretrainLogProcessor", window_size=50)
log_to = "auto"  # TensorBoard where it is installed; or a list of "tensorboard", "wandb". JSON logs are always written.
default_hooks = dict(
    logger=dict(type="LogHook", interval=50),
    checkpoint=dict(type="SafeCheckpointHook", interval=1, keep=2),
    sampler_seed=None,  # ResumableTrainLoop tells the sampler where it is
)
custom_hooks = [
    dict(type="ProgressHook"),
    dict(type="MaskerProgressHook"),
    dict(type="BrokenFilesHook"),
    dict(type="NonFiniteHook", max_in_a_row=5),
    dict(type="DataWaitHook", threshold=0.3),
    dict(type="ReconstructionHook"),
    dict(type="LossCurveHook"),
]
# Switches that change speed and memory, not results:
gradient_checkpointing = False
# compile = True  # or the arguments of torch.compile, such as dict(mode="max-autotune")
fsdp = False  # True splits weights and optimiser over the processes, for encoders too large for one device
