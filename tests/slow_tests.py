"""The tests that `make test-fast` leaves out: those that take more than some four seconds of a processor.

Files as a whole, and tests of other files by name. At the end those that `make test` leaves out, too.
"""

FILES = {
    *("fuzz/test_fuzz.py", "test_install.py", "test_first_hour.py", "test_tools.py", "test_data/test_hub.py"),
    *("test_contracts/test_mmengine.py", "test_evaluation/test_evaluation_tools.py"),
    *(
        f"test_engine/test_{name}.py"
        for name in (
            *("bombs", "broken_in_validation", "centroids", "checkpoint", "classification", "compare", "compile"),
            *("detection", "distributed", "faults", "odd_state"),
            *("damage", "finetune", "guard", "hanging", "logging", "resume", "resume_changes", "run_lock", "trust"),
            *("segmentation_run", "sharding", "stopping", "stopping_validation", "switches", "teacher", "user_data"),
        )
    ),
}
# Those that mostly wait, for a timeout or a process: they begin first, so that no worker is left alone with them.
WAITING = {f"test_engine/test_{name}.py" for name in ("hanging", "stopping", "faults", "run_lock")}
TESTS = {
    "test_bad_input.py": {
        *("test_train_without_data", "test_train_on_an_empty_folder", "test_train_on_a_folder_of_other_files"),
        *("test_train_on_images_that_are_all_broken", "test_channels_that_the_files_do_not_have"),
        *("test_init_from_a_file_that_is_not_there", "test_tools_refuse_bad_checkpoints"),
    },
    "test_benchmarks/test_input.py": {"test_loaders_are_measured_side_by_side"},
    "test_benchmarks/test_operations.py": {"test_a_tiny_step_is_taken_apart"},
    "test_inspection/test_check.py": {"test_a_training_runs_on_what_is_offered"},
    "test_cli.py": {
        *("test_a_full_disk_is_one_sentence", "test_a_full_disk_does_not_end_the_work"),
        *("test_tables_are_cut_without_an_error", "test_a_loading_process_that_is_killed_is_one_sentence"),
        *("test_output_that_nobody_reads_does_not_end_the_work", "test_full_shared_memory_is_one_sentence"),
        "test_a_loading_process_that_is_killed_with_a_batch_on_its_way_is_one_sentence",
    },
    "test_commands.py": {
        *("test_a_part_in_a_file_of_the_current_folder", "test_a_part_in_a_process_that_loads"),
        "test_dist_train_finds_a_part_in_the_current_folder",
    },
    "test_configs.py": {"test_runs_in_a_tiny_form"},
    "test_contracts/test_mmengine_configs.py": {
        "test_the_preprocessor_beside_the_model",
        "test_one_scheduler_may_be_a_dict",
    },
    "test_data/test_shards.py": {
        *("test_killed_in_the_middle_leaves_no_process_and_goes_on", "test_training_takes_a_folder_of_shards"),
    },
    "test_docs.py": {"test_python_runs", "test_the_loop_learns_in_thirty_lines"},
    "test_engine/test_encoder.py": {
        *("test_onnx_of_convolutions_and_another_batch", "test_onnx_of_a_rectangle_and_another_batch"),
    },
    "test_evaluation/test_predict_files.py": {"test_two_processes_of_torchrun_write_what_one_does"},
    "test_evaluation/test_evaluators.py": {
        *("test_every_image_counts_once_in_two_processes", "test_cadence_and_a_resume_that_keeps_it"),
    },
    "test_examples.py": {"test_the_notebook_runs", "test_plain_pytorch_learns"},
    "test_weights/test_deployment.py": {
        *("test_onnx_of_any_size_and_in_int8", "test_onnx_in_float16", "test_torch_export_of_any_size"),
    },
    "test_installation.py": {"test_the_doctor_speaks_where_a_package_is_missing"},
    "test_models/test_detector.py": {"test_it_learns_an_image_by_heart"},
    "test_models/test_segmentor.py": {"test_a_published_encoder_fills_a_full_size_config"},
    "test_models/test_training_step.py": {"test_compiled_once_and_never_again"},
    "test_ops/test_pos_embed.py": {"test_exported_for_every_batch_and_size"},
    "test_plugins.py": {"test_the_example_is_a_package_that_works", "test_every_part_is_listed_with_a_description"},
    "test_portability.py": {"test_everything_can_be_imported"},
    "test_registry.py": {
        *("test_parts_are_found", "test_only_what_is_asked_for_is_imported"),
        "test_a_name_of_ours_cannot_be_taken_before_it_is_imported",
    },
    "test_site.py": {"test_it_builds_strictly"},
}

# What repeats a cheaper test for another size or option: `make test-all` runs it, as the weekly workflow does. These
# expressions are looked for in the names of tests.
WEEKLY = [
    r"test_install\.py::test_the_first_hour",
    r"test_install\.py::test_(compare_two_configs|predict_with_a_classifier)",
    r"test_compare\.py::test_compare_goes_on_where_it_stopped",
    r"test_configs\.py::test_runs_in_a_tiny_form\[(benchmark/|colormae/vit-b-|mae/vit-b_(?!400e)|.*/vit-[lhs][-_])",
    # Other lengths, shares of labels, data sets and colours of a recipe that runs: in their small form they are one.
    r"test_configs\.py::test_runs_in_a_tiny_form\[colormae/vit-(b_(800|1600)|t-(blue|purple|red))",
    r"test_configs\.py::test_runs_in_a_tiny_form\[((mff|pixmim)/vit-b_300e|videomae/vit-b_800e|simmim/swin-b_100e)",
    r"test_configs\.py::test_runs_in_a_tiny_form\[(crossmae/vit-b-quarter|few_shot/vit-(b-(1pct|5-per)|t-1pct))",
    r"test_configs\.py::test_runs_in_a_tiny_form\[segmentation/upernet_vit-b_(cityscapes|voc)",
    r"test_configs\.py::test_runs_in_a_tiny_form\[(detection|segmentation)/[\w-]+_vit-l_",
    r"test_deployment\.py::test_onnx_of_any_size_and_in_int8\[(?!Vision)",
    r"test_deployment\.py::test_onnx_in_float16\[(?!Vision)",
    # Scripts and files beside the package, which seldom change.
    r"test_distributed\.py::test_the_script_for_slurm|test_install\.py::test_the_container_gets_the_same_wheel",
    r"test_distributed\.py::test_two_processes_equal_one\[True-OptimWrapper",
    r"test_commands\.py::test_a_part_in_a_file_of_the_current_folder\[(?!torchrun)",
    r"test_mmengine\.py::test_epochs_differ_and_a_resume_is_exact\[(by_epoch|no type|ours, iterations|ours-[DI])",
    r"test_mmengine\.py::test_epochs_differ_and_a_resume_is_exact\[(Epoch\w+-Keyed|Iter\w+-(Keyed|Default))",
    r"test_deployment\.py::test_torch_export_of_any_size\[(Image|Windowed|Hybrid|Timm)",
    r"test_stopping_validation\.py::test_a_loader_that_hangs\w+\[iterations-(0|-1)",
    r"test_switches\.py::test_every_combination\w+\[\((True, True|True, False, True|False, False, True|False, True, F)",
    r"test_training_step\.py::test_compiled_once_and_never_again\[False",
    r"test_cli\.py::test_tables_are_cut_without_an_error\[list_configs",
    r"test_detection\.py::test_full_size_loads_published_weights_and_steps\[(.*vit-l|faster|.*own)",
    r"test_compile\.py::test_all_blocks_of_a_run_with_validation_are_compiled\[(24|12-False)",
    # Compiled once more, for a share that changes and by the compiler for a user's machine, which takes its time.
    r"test_compile\.py::test_a_masking_ratio_that_changes|test_switches\.py::test_the_default_compiler",
    # Tools that measure: they are run whole, and what they compute has tests of its own.
    r"test_input\.py::test_loaders_are_measured|test_gpu\.py::test_the_report_has_checks_and_speed",
    r"test_site\.py::test_it_builds_strictly",  # as `make docs` does, which `.ci/run` begins with
]
