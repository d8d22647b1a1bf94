"""The revision that produced a result, read from a repository that others use at the same time."""

import os
import subprocess

from maetool.metadata import provenance


def test_the_revision_is_read_without_writing_to_the_repository(tmp_path, monkeypatch):
    """A run that ends while Git holds the lock of the index would leave it behind, and no commit could be made."""
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "maetool" / "metadata" / "provenance.py"))
    file = tmp_path / "maetool" / "file.py"
    file.parent.mkdir()
    file.write_text("a = 1\n")

    def git(*arguments):
        owner = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *owner, *arguments], check=True, capture_output=True)

    read = provenance.git_revision.__wrapped__  # without the cache
    assert read() == "no repository"
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    os.utime(file, (1, 1))  # now Git compares the contents, and would note that they are equal
    before = (tmp_path / ".git" / "index").read_bytes()
    revision = read()
    assert len(revision) == 12 and (tmp_path / ".git" / "index").read_bytes() == before
    file.write_text("a = 2\n")
    assert read() == f"{revision} with changes"
