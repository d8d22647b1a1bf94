"""Sets that several machines prepare, each a part: joined they are what one machine writes, or the join is refused."""

import json
import sys
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from maetool.commands import prepare_dataset
from maetool.data import ImageFolderDataset, ShardDataset
from maetool.data.prepare.join import join
from maetool.data.prepare.prepare import Recipe, prepare
from maetool.data.sources.packed.shards import ShardWriter
from maetool.division import Part, part_files
from maetool.errors import OutputError, UsageError

LAYOUTS = ["shards", "folder"]


@pytest.fixture(autouse=True)
def user_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def source(tmp_path):
    """Eleven images in two folders and two files that are none."""
    root = tmp_path / "source"
    for i in range(11):
        path = root / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 50 + i, 3), 20 * i, np.uint8)).save(path)
    (root / "a/001.jpg").write_text("no image")
    (root / "b/99.png").touch()
    return root


def recipe_of(layout="shards", **options):
    return Recipe(**{"short_side": 32, "images_per_shard": 4, "layout": layout, **options})


def make(source, out, part, recipe, progress=lambda done: None, **options):
    return prepare(str(source), str(out), recipe, 1, progress, part=Part.of(part) if part else None, **options)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parts_of(total):
    return [f"{number}/{total}" for number in range(total)]


@pytest.fixture
def parts(source, tmp_path):
    """A folder with the three parts of a set of shards."""
    for part in parts_of(3):
        make(source, tmp_path / "out", part, recipe_of())
    return tmp_path / "out"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", [[0], [1, 0], [2, 0, 1], [5, 3, 1, 4, 2, 0]])
def test_joined_parts_are_what_one_machine_writes(source, tmp_path, layout, order):
    whole = make(source, tmp_path / "whole", None, recipe_of(layout))
    told = [make(source, tmp_path / "out", f"{number}/{len(order)}", recipe_of(layout)) for number in order]
    assert sum(written for written, _ in told) == whole[0] == 11
    assert sorted(line for _, lines in told for line in lines) == sorted(whole[1])
    assert join(str(source), str(tmp_path / "out"), recipe_of(layout)) == whole
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert join(str(source), str(tmp_path / "out"), recipe_of(layout)) == whole  # again
    assert len((ShardDataset if layout == "shards" else ImageFolderDataset)(tmp_path / "out")) == 11


@pytest.mark.parametrize("units", [0, 1, 2, 7, 16, 1000])
@pytest.mark.parametrize("total", [1, 2, 3, 16])
def test_parts_are_disjoint_and_complete(units, total):
    ranges = [Part(number, total).range_of(units) for number in range(total)]
    assert [unit for own in ranges for unit in own] == list(range(units))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_part_that_was_stopped_goes_on(source, tmp_path, layout):
    make(source, tmp_path / "whole", None, recipe_of(layout, images_per_shard=2))

    def interrupt(done, seen=[]):  # noqa: B006
        seen.append(done)
        if sum(seen) >= 3:
            raise KeyboardInterrupt

    recipe, out = recipe_of(layout, images_per_shard=2), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(source, out, "1/2", recipe, interrupt)
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".tar", ".jpg")}
    assert kept
    make(source, out, "0/2", recipe)
    with pytest.raises(UsageError, match=r"1 of 2 parts of .* are missing \(1/2\): run the command with --part 1/2"):
        join(str(source), str(out), recipe)
    make(source, out, "1/2", recipe)
    make(source, out, "1/2", recipe)  # a job that is queued twice
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    join(str(source), str(out), recipe)
    make(source, out, "0/2", recipe)  # late
    assert content(out) == content(tmp_path / "whole")


def test_one_machine_may_finish_what_parts_began(source, tmp_path):
    make(source, tmp_path / "whole", None, recipe_of())
    make(source, tmp_path / "out", "1/3", recipe_of())
    make(source, tmp_path / "out", None, recipe_of())
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_settings_of_parts_must_agree(source, parts):
    with pytest.raises(UsageError, match="short_side 32 instead of 48"):
        make(source, parts, "1/3", recipe_of(short_side=48))
    with pytest.raises(UsageError, match="short_side 32 instead of 48"):
        join(str(source), str(parts), recipe_of(short_side=48))
    with pytest.raises(UsageError, match=r"part-00000-of-00003.json was made otherwise \(max_pixels 268435456 inst"):
        join(str(source), str(parts), recipe_of(), max_pixels=1000)


def test_other_images_of_the_same_names_are_noticed(source, parts):
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(source / "b/05.png")
    make(source, parts, "1/3", recipe_of())
    with pytest.raises(UsageError, match=r"part-00000-of-00003.json was made otherwise \(contents"):
        join(str(source), str(parts), recipe_of())


def test_parts_of_two_divisions_are_refused(source, parts):
    make(source, parts, "1/2", recipe_of())
    with pytest.raises(UsageError, match="lie parts of 2 and of 3, which overlap"):
        join(str(source), str(parts), recipe_of())


def test_a_doubled_part_is_refused(source, parts):
    notes = list(part_files(parts / "prepared.json").values())
    notes[2].write_bytes(notes[1].read_bytes())
    with pytest.raises(UsageError, match="holds part 1/3, not 2/3"):
        join(str(source), str(parts), recipe_of())


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "\0"])
def test_a_damaged_note_is_refused(source, parts, damage):
    part_files(parts / "prepared.json")[Part(1, 3)].write_text(damage)
    with pytest.raises(UsageError, match="holds part None, not 1/3: delete it, and run the command with --part 1/3"):
        join(str(source), str(parts), recipe_of())


def test_damaged_shards_are_named_with_their_part(source, parts):
    shard = parts / "shard-000002.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-512])
    with pytest.raises(UsageError, match=f"shard-000002.tar has {len(whole) - 512:,} bytes.*--part 2/3"):
        join(str(source), str(parts), recipe_of())
    shard.unlink()
    with pytest.raises(UsageError, match=r"shard-000002\.tar is missing"):
        join(str(source), str(parts), recipe_of())
    other = (parts / "shard-000001.tar").read_bytes()
    shard.write_bytes(other)
    note = part_files(parts / "prepared.json")[Part(1, 3)]
    text = {number: json.loads(file.read_text()) for number, file in part_files(parts / "prepared.json").items()}
    for part, content in text.items():
        if shard.name in content["shards"]:
            content["shards"][shard.name] = len(other)
            part_files(parts / "prepared.json")[part].write_text(json.dumps(content))
    assert note.exists()
    with pytest.raises(UsageError, match=r"shard-000002\.tar holds other images than it should"):
        join(str(source), str(parts), recipe_of())


def test_a_missing_image_of_the_folder_layout(source, tmp_path):
    for part in parts_of(2):
        make(source, tmp_path / "out", part, recipe_of("folder"))
    (tmp_path / "out/b/09.png.jpg").unlink()
    with pytest.raises(UsageError, match=r"1 images of part 1/2 are missing \(first .*b/09.png.jpg\)"):
        join(str(source), str(tmp_path / "out"), recipe_of("folder"))


def test_nothing_to_join(source, tmp_path):
    with pytest.raises(UsageError, match=r"no part of .* to join: run the command with --part 0/N to N-1/N first"):
        join(str(source), str(tmp_path / "out"), recipe_of())
    assert not (tmp_path / "out").exists()


def test_a_join_that_was_killed_at_its_end(source, parts, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(import_module("maetool.data.prepare.prepare"), "remove_parts", lambda path: None)
        told = join(str(source), str(parts), recipe_of())
    assert part_files(parts / "prepared.json")
    assert join(str(source), str(parts), recipe_of()) == told
    assert not part_files(parts / "prepared.json")


@pytest.mark.parametrize("text", ["3", "4/4", "-1/2", "a/b", "1/0", "", "1/2/3", "0.5/2", "١٢٣٤٥٦/2"])
def test_parts_that_are_none(text):
    with pytest.raises(UsageError, match="must be I/N with I from 0 to N - 1"):
        Part.of(text)


def test_a_folder_that_another_part_claims_at_this_moment(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.prepared.json.77.tmp").touch()
    make(source, tmp_path / "out", "0/2", recipe_of())
    assert (tmp_path / "out/prepared.json").is_file()


def test_two_writers_of_a_shard_do_not_mix(tmp_path):
    first = ShardWriter(tmp_path / "shard.tar")
    with ShardWriter(tmp_path / "shard.tar") as second:
        second.add("a", b"second")
        first.add("a", b"of the first, which is not complete")
        with pytest.raises(OutputError, match="is written by another process, too"), first:
            pass
    assert b"second" in (tmp_path / "shard.tar").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_an_image_that_became_readable_is_not_lost_without_a_word(source, tmp_path):
    make(source, tmp_path / "out", None, recipe_of())
    (source / "a/001.jpg").write_bytes((source / "a/00.png").read_bytes())
    written, left_out = make(source, tmp_path / "out", None, recipe_of())
    assert (written, len(left_out)) == (11, 2)
    assert "001.jpg: it was left out of" in left_out[0] and "delete that shard" in left_out[0]


def test_the_command(source, tmp_path, monkeypatch, capsys):
    def call(*options):
        arguments = ["prepare_dataset", source, tmp_path / "out", "--workers", 1, "--images-per-shard", 4, *options]
        monkeypatch.setattr(sys, "argv", [str(word) for word in arguments])
        prepare_dataset.main()
        return capsys.readouterr().out

    assert "Part 0/5 has no images" in call("--part", "0/5")
    for number in range(1, 5):
        told = call("--part", f"{number}/5")
    assert "Part 4/5 is done" in told and "with --join in the place of --part" in told
    assert "11 images are in" in call("--join")
    assert len(ShardDataset(tmp_path / "out")) == 11
    with pytest.raises(SystemExit):
        call("--join", "--part", "0/5")
