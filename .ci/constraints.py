#!/usr/bin/env python3
"""Prints constraints.txt: the versions of the packages in this interpreter's environment, with hashes of their files.

Run by the Python of an environment in which the tests passed, as `.ci/versions newest` does. The hashes are those that
the package index gives for the files that pip takes for this Python and this system; nothing is installed, and no file
is downloaded where the index has metadata.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

LEFT_OUT = ("pip", "wheel", "maetool")  # the installer, its leftovers, and what is installed from this checkout
HEADER = """\
# Versions that the tests passed with, and hashes of their files: {implementation} {version}, {system} {machine}.
# Written by .ci/constraints.py; docs/dependencies.md says how to install from it.
"""


def frozen() -> list[str]:
    """Return "name==version" of everything in the environment that comes from an index."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "freeze", "--all"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if "==" in line and line[0] not in "#-" and line.split("==")[0] not in LEFT_OUT]


def hashed(requirements: list[str]) -> dict[str, str]:
    """Return "name==version" to the SHA-256 of the file that pip would install."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--dry-run"]
    with tempfile.TemporaryDirectory() as folder:
        report, listed = Path(folder, "report.json"), Path(folder, "frozen.txt")
        listed.write_text("\n".join(requirements))
        command += ["--ignore-installed", "--no-deps", "--requirement", str(listed), "--report", str(report)]
        subprocess.run(command, check=True, stdout=sys.stderr, env=_environment())
        items = json.loads(report.read_text())["install"]
    found = {}
    for item in items:
        name = f"{item['metadata']['name']}=={item['metadata']['version']}"
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not digest or not item["download_info"]["url"].startswith("https://"):
            sys.exit(f"{name} does not come from an index with hashes: install it from there, and run the tests again.")
        found[name] = digest
    return found


def _environment() -> dict[str, str]:
    """Return the environment without the files of packages that this machine may have beside the index."""
    local = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT")
    return {name: value for name, value in os.environ.items() if name not in local} | {"PIP_CONFIG_FILE": os.devnull}


def main() -> None:
    """Print the file."""
    lines = [f"{name} \\\n    --hash=sha256:{digest}" for name, digest in hashed(frozen()).items()]
    facts = {
        "implementation": platform.python_implementation(),
        "version": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }
    header = HEADER.format(**facts, system=platform.system(), machine=platform.machine())
    sys.stdout.write(header + "\n".join(sorted(lines, key=str.lower)) + "\n")


if __name__ == "__main__":
    main()
