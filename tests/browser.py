"""Opens a page in Chromium (PyQt6-WebEngine) as a person does, and writes what was there, as JSON.

    python tests/browser.py PAGE light|dark HEAD OUT.json

HEAD is the head of the column by which the first table that has it is sorted, by the keyboard alone. A process of its
own, because a browser cannot be started twice in one, and needs its switches before it is imported.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QTWEBENGINE_CHROMIUM_FLAGS", "--no-sandbox --disable-gpu --single-process")
os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] += f" --blink-settings=preferredColorScheme={int(sys.argv[2] == 'light')}"

from PyQt6.QtCore import QEventLoop, Qt, QTimer, QUrl
from PyQt6.QtTest import QTest
from PyQt6.QtWebEngineCore import QWebEnginePage
from PyQt6.QtWebEngineWidgets import QWebEngineView
from PyQt6.QtWidgets import QApplication

LONGEST = 60_000  # milliseconds
PICTURES = """
JSON.stringify([...document.querySelectorAll("img, svg")].map(each => {
  const box = each.getBoundingClientRect();
  return {kind: each.localName, loaded: each.localName === "svg" || each.complete && each.naturalWidth > 0,
          seen: each.checkVisibility() && box.width > 20 && box.height > 20 && box.right <= innerWidth + 1};
}))
"""
COLOURS = """
JSON.stringify([getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor])
"""
SORTED = """
(name => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const column = [...table.tHead.rows[0].cells].findIndex(head => head.textContent.trim() === name);
    if (column >= 0) return JSON.stringify([...table.tBodies[0].rows].map(row => row.cells[column].textContent));
  }
  return "null";
})
"""
FOCUS = "JSON.stringify([document.activeElement.localName, document.activeElement.textContent.trim()])"


class Page(QWebEnginePage):
    """Keeps what the console says."""

    said: list = []

    def javaScriptConsoleMessage(self, level, message, line, source):
        self.said.append(f"{message} (line {line})")


def wait_for(start):
    """Return what `start` passes to the function that it is given."""
    loop, results = QEventLoop(), []
    start(lambda *values: (results.extend(values), loop.quit()))
    if not results:
        QTimer.singleShot(LONGEST, loop.quit)
        loop.exec()
    return results[0]


def main():
    """Load, look, tab through, sort."""
    application = QApplication(sys.argv[:1])
    view = QWebEngineView()
    page = Page(view)
    view.setPage(page)
    view.resize(1200, 900)
    view.show()
    loaded = wait_for(lambda done: (page.loadFinished.connect(done), view.load(QUrl.fromLocalFile(str(sys.argv[1])))))

    def ask(script):
        return json.loads(wait_for(lambda done: page.runJavaScript(script, done)))

    def press(key):
        QTest.keyClick(view.focusProxy(), key)
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            application.processEvents()

    found = {"loaded": loaded, "title": page.title(), "pictures": ask(PICTURES), "colours": ask(COLOURS)}
    rows = f"{SORTED.strip()}({json.dumps(sys.argv[3])})"
    found["rows"] = [ask(rows)]
    view.focusProxy().setFocus()
    reached = []
    while sys.argv[3] and len(reached) < 80 and reached[-1:] != [["button", sys.argv[3]]]:
        press(Qt.Key.Key_Tab)
        reached.append(ask(FOCUS))
    found["reached"] = reached
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Space):
        press(key)
        found["rows"].append(ask(rows))
    found["said"] = page.said
    Path(sys.argv[4]).write_text(json.dumps(found))
    os._exit(0)  # Chromium in one process does not end in order


if __name__ == "__main__":
    main()
