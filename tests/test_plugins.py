"""Third-party plugins: loaded, or reported with their reason."""

import pytest

from maetool import plugins
from maetool.errors import UsageError
from maetool.registry import MASKERS


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
