"""The workflow files, the issue forms and the pull request template name what there is."""

import re
from pathlib import Path

import pytest
import yaml
from doc_commands import check_command

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [path for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]
PROSE = [*FORMS, *GITHUB.glob("*.md")]


def read(path):
    return yaml.safe_load(path.read_text())


def steps_of(path):
    """Yield every step of a workflow with the values of its matrix, one dict for each combination."""
    for job in read(path)["jobs"].values():
        for values in job.get("strategy", {}).get("matrix", {}).get("include", [{}]):
            for step in job["steps"]:
                yield step, values


def commands_of(path):
    """Yield the commands that a workflow runs, with the values of its matrix filled in."""
    for step, values in steps_of(path):
        for line in step.get("run", "").splitlines():
            yield re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda match, values=values: values[match[1]], line)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_commands_of_a_workflow_name_what_there_is(path):
    commands = list(commands_of(path))
    assert commands
    for command in commands:
        program, *words = command.split()
        if program == "make":
            check_command(command)
        elif program == "sudo":
            assert command.startswith("sudo apt-get update && sudo apt-get install --yes "), command
        else:
            assert (ROOT / program).is_file(), command
            assert set(words) <= {"oldest", "newest"}, command


def test_a_target_that_is_not_there_is_found():
    with pytest.raises(AssertionError):
        check_command("make test-quick")


def test_everything_that_must_pass_is_run():
    checks, weekly = (set(commands_of(GITHUB / "workflows" / f"{name}.yml")) for name in ("checks", "weekly"))
    assert {"make lint", "make typecheck", "make docs", "make test-fast", "make test-wheel"} <= checks
    assert {".ci/versions oldest", ".ci/versions newest"} <= weekly
    recipe = re.search(r"^test-wheel:.*\n\t(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert (ROOT / recipe.split()[-1]).is_file() and recipe.endswith("tests/test_install.py")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_start_by_themselves_and_may_only_read(path):
    workflow = read(path)
    starts = workflow[True]  # YAML takes `on` for a truth value
    assert {"pull_request", "push"} <= starts.keys() or "schedule" in starts
    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit(path):
    used = re.findall(r"uses: *(.*)", path.read_text())
    assert used and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+){2}", action) for action in used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_checkout_keeps_no_token(path):
    checkouts = [step for step, _ in steps_of(path) if "actions/checkout" in step.get("uses", "")]
    assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_versions_of_python_are_supported(path):
    lowest = re.search(r'python_requires=">=3\.(\d+)"', (ROOT / "setup.py").read_text())[1]
    steps = [pair for pair in steps_of(path) if "setup-python" in pair[0].get("uses", "")]
    stated = [(step["with"]["python-version"], values) for step, values in steps]
    versions = [values["python"] if "matrix" in version else version for version, values in stated]
    assert versions
    assert all(int(version.removeprefix("3.")) >= int(lowest) for version in versions)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_ask_in_a_way_that_the_host_takes(path):
    form = read(path)
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids) > 2
    assert all(field["attributes"]["label"] for field in fields)
    assert {field["type"] for field in fields} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_forms_ask_for_the_doctor():
    for name in ("bug", "wrong_number"):
        fields = {field.get("id"): field for field in read(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")["body"]}
        assert "`maetool doctor`" in fields["doctor"]["attributes"]["label"]
        assert fields["doctor"]["validations"]["required"]


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_prose_names_commands_and_pages_that_exist(path):
    spans = re.findall(r"`([^`]+)`", path.read_text())
    for span in spans:
        if re.match(r"(maetool \w|make )", span):
            check_command(span)
        elif re.fullmatch(r"[\w./-]+\.(md|py)", span):
            assert (ROOT / span).is_file(), span


def test_linters_have_exact_versions():
    source = (ROOT / "setup.py").read_text()
    pinned = dict(re.findall(r'"(ruff|codespell|mypy)==([\d.]+)"', source))
    assert pinned.keys() == {"ruff", "codespell", "mypy"}
    page = (ROOT / "docs" / "dependencies.md").read_text()
    assert all(f"{name} {version}" in page for name, version in pinned.items())
