# Everything around the training itself. Hooks have names, so that a config can change one, or remove it with None.

# Changes results:
randomness = dict(seed=0, diff_rank_seed=False)  # processes draw differently by the keys of their samples

# Changes no result: reports, safety and speed.
default_scope = "maetool"
runner_type = "maetool.engine.runner.MaetoolRunner"  # for MMEngine's scripts, which build the runner named here
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl", timeout=600),  # seconds after which a process that does not answer ends the job
)
log_processor = dict(type="PretrainLogProcessor", window_size=50)
log_to = (
    "auto"  # TensorBoard if installed; or a list of "tensorboard", "wandb", "mlflow", "aim". JSON is always written.
)
default_hooks = dict(
    logger=dict(type="LogHook", interval=50),
    checkpoint=dict(type="SafeCheckpointHook", interval=1, keep=2),
)
custom_hooks = dict(
    progress=dict(type="ProgressHook"),
    masker_progress=dict(type="MaskerProgressHook"),  # changes results if a masker has a schedule
    broken_files=dict(type="BrokenFilesHook"),
    non_finite=dict(type="NonFiniteHook", max_in_a_row=5),
    data_wait=dict(type="DataWaitHook", threshold=0.3),
    pictures=dict(type="ReconstructionHook"),
    loss_curve=dict(type="LossCurveHook"),
    health=dict(type="HealthHook"),
    report=dict(type="ReportHook", least_seconds=120),  # `maetool report` writes the page of shorter runs
)
gradient_checkpointing = False
# compile = True  # or the arguments of torch.compile, such as dict(mode="max-autotune-no-cudagraphs")
fsdp = False  # True splits weights and optimiser over the processes, for encoders too large for one device
