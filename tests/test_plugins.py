"""Third-party plugins: loaded, or reported with their reason."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from warm import run_warm

from maetool import plugins
from maetool.commands.list_components import components, to_text
from maetool.config.load import load_config
from maetool.errors import UsageError
from maetool.registry import HOOKS, MASKERS


class Entry:
    def __init__(self, name, error=None):
        self.name, self.error = name, error

    def load(self):
        if self.error:
            raise self.error


@pytest.fixture
def installed(monkeypatch):
    entries = [Entry("broken", ImportError("no module named nothing")), Entry("stripes"), Entry("odd", KeyError("x"))]
    monkeypatch.setattr(plugins, "_report", None)
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries if group == "maetool.plugins" else [])


@pytest.mark.usefixtures("installed")
def test_a_plugin_that_fails_is_reported_and_does_not_stop_the_others():
    report = plugins.load_plugins()
    assert report.loaded == ["stripes"]
    assert report.failed == {"broken": "ImportError: no module named nothing", "odd": "KeyError: 'x'"}


@pytest.mark.usefixtures("installed")
def test_an_unknown_name_tells_which_plugins_failed():
    with pytest.raises(UsageError, match=r"Loaded plugins: stripes\. Plugin broken failed to load \(ImportError"):
        MASKERS.build({"type": "StripeMasker"})


def test_a_class_without_registration_by_its_dotted_path():
    masker = MASKERS.build({"type": "maetool.maskers.random.RandomMasker", "mask_ratio": 0.5})
    assert masker.mask_ratio == 0.5
    with pytest.raises(UsageError, match=r"the module maetool.maskers has no Missing"):
        MASKERS.build({"type": "maetool.maskers.Missing"})


def test_an_entry_point_to_nothing(monkeypatch):
    entries = [EntryPoint("gone", "no_such_module", plugins.GROUP), EntryPoint("lost", "json:nothing", plugins.GROUP)]
    monkeypatch.setattr(plugins, "_report", None)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [*entries, Entry("exits", SystemExit(3))])
    report = plugins.load_plugins()
    assert report.loaded == []
    assert report.failed["gone"] == "ModuleNotFoundError: No module named 'no_such_module'"
    assert report.failed["lost"].startswith("AttributeError: ")
    assert report.failed["exits"] == "SystemExit: 3"


def test_a_plugin_that_fails_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    """Its parts and modules go, also one in the place of another; what it imported from elsewhere stays."""
    package = tmp_path / "half_way"
    package.mkdir()
    begin = "from maetool.maskers import RandomMasker\nfrom maetool.registry import MASKERS\n"
    part = f"{begin}@MASKERS.register_module(force=%s)\nclass %s(RandomMasker):\n    'Mine.'\n"
    (package / "__init__.py").write_text("import other_package\nfrom . import parts\nimport no_such_module\n")
    mmengine = "from mmengine.registry import HOOKS\nHOOKS.register_module(name='HalfHook')(HalfMasker)\n"
    (package / "parts.py").write_text(part % (False, "HalfMasker") + part % (True, "GridMasker") + mmengine)
    (tmp_path / "other_package.py").write_text(part % (False, "OtherMasker"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_report", None)
    entries = [EntryPoint("half", "half_way", plugins.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    grid = MASKERS.get("GridMasker")
    try:
        assert "no_such_module" in plugins.load_plugins().failed["half"]
        assert "HalfMasker" not in MASKERS.module_dict and "HalfHook" not in HOOKS.parent.module_dict
        assert MASKERS.get("GridMasker") is grid and grid.__module__.startswith("maetool.")
        assert "OtherMasker" in MASKERS.module_dict
        assert not any(name.startswith("half_way") for name in sys.modules) and "other_package" in sys.modules
        with pytest.raises(UsageError, match=r"Plugin half failed to load \(ModuleNotFoundError"):
            MASKERS.build({"type": "HalfMasker"})
    finally:
        MASKERS.module_dict.pop("OtherMasker", None)
        sys.modules.pop("other_package", None)


def test_a_name_taken_twice_names_both_owners():
    class RandomMasker:
        pass

    with pytest.raises(
        UsageError, match=r"`RandomMasker` is taken twice, by maetool.maskers.random and by test_plugins"
    ):
        MASKERS.register_module()(RandomMasker)


def test_an_empty_name():
    class Nameless:
        pass

    with pytest.raises(UsageError, match="registered as masker with an empty name"):
        MASKERS.register_module(name=" ")(Nameless)
    with pytest.raises(UsageError, match=r"The `type` of a masker is empty: write one of .*RandomMasker"):
        MASKERS.build({"type": ""})
    with pytest.raises(UsageError, match=r"The `type` of a masker is None and no name: write one of .*RandomMasker"):
        MASKERS.build({"type": None})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('broken on purpose')", r"ValueError: broken on purpose, in .*custom_37\.py, line 1"),
        ("raise SystemExit(3)", r"SystemExit: 3, in .*custom_19\.py, line 1"),
    ],
)
def test_custom_imports_that_fail_say_why(tmp_path, monkeypatch, code, reason):
    name = f"custom_{len(code)}"
    (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "config.py").write_text(f"custom_imports = dict(imports=[{name!r}])\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=rf"cannot be read \(.*{reason}"):
        load_config(tmp_path / "config.py")


def test_custom_imports_register(tmp_path, monkeypatch):
    (tmp_path / "custom_parts.py").write_text(
        "from maetool.maskers import RandomMasker\nfrom maetool.registry import MASKERS\n"
        "@MASKERS.register_module()\nclass CustomMasker(RandomMasker):\n    'Mine.'\n"
    )
    (tmp_path / "config.py").write_text("custom_imports = dict(imports=['custom_parts'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_config(tmp_path / "config.py")
    try:
        assert MASKERS.build({"type": "CustomMasker"}).mask_ratio == 0.75
        (listed,) = [part for part in components("masker") if part.name == "CustomMasker"]
        assert listed.about == "Mine."
        assert listed.origin == "custom_parts"
        assert listed.arguments == "(mask_ratio=0.75, predict_ratio=None)"
    finally:
        MASKERS.module_dict.pop("CustomMasker", None)


def test_every_part_is_listed_with_a_description():
    found = components()
    kinds = {part.kind for part in found}
    assert {"masker", "encoder", "decoder", "target", "head", "model", "hook", "transform", "dataset"} <= kinds
    assert [part.name for part in found if part.about == "no description"] == []
    text = to_text(components("masker"))
    assert "RandomMasker(mask_ratio=0.75, predict_ratio=None)\n" in text
    assert "[maetool.maskers.random]" in text
    with pytest.raises(UsageError, match="no kind of part called 'maskers': choose one of masker, stem"):
        components("maskers")


def test_the_example_is_a_package_that_works(repository, tmp_path):
    """Installed beside maetool into an environment of its own, it is found by its entry point and its tests pass."""
    copy = tmp_path / "plugin"
    shutil.copytree(
        repository / "examples" / "plugin", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*install, "--target", tmp_path / "site", copy], check=True, timeout=120)
    path = os.pathsep.join([str(tmp_path / "site"), str(repository)])
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", copy / "tests"]
    result = run_warm(command, tmp_path, bare=True, PYTHONPATH=path)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]
    assert "10 passed" in result.stdout
