"""The commands of the README work one after the other, as a newcomer types them, on photographs.

The weekly tests type those of all first pages, with the wheel: `test_the_first_hour` in tests/test_install.py.
"""

from first_hour import Newcomer, write_photos
from warm import run_warm


def test_the_commands_of_the_readme_in_order(tmp_path):
    write_photos(tmp_path / "photos")

    def run(words):
        assert words[0] == "maetool"
        result = run_warm(["-m", *words], tmp_path)
        return result.returncode, result.stdout + result.stderr

    newcomer = Newcomer(tmp_path, run, instead=("vit-b_800e", "vit-t_shapes"))
    assert newcomer.read("README.md") == []
    assert "There is no data at " in newcomer.type("README.md", "maetool check nowhere")
    written = ["work_dirs/check_photos.html", "picture.png", "encoder.safetensors", "encoder.md"]
    assert [name for name in written if not (tmp_path / name).is_file()] == []
    assert newcomer.checkpoint == "work_dirs/mae_vit-t_shapes/epoch_1.pth"
