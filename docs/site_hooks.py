"""What mkdocs calls while it builds the site: pages from outside of docs/ join it, and links lead to them.

On GitHub a link is a path in the repository, and so it is in the sources: `../configs/mae/vit-t_shapes.py` in a page of
docs/, `docs/faq.md` in the README. In the site the files of `PULLED_IN` are pages, any other file that a page links to
becomes one that shows its text, and a folder one that lists its files. A link to what is not there stays as it is, so
that the strict build refuses it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath, relpath

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PULLED_IN = (
    "README.md",
    "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md",
    "SECURITY.md",
    "examples/plugin/README.md",
)
# Fences, indented blocks and code in a line are left alone: `blocks[0](images)` is no link.
CODE = re.compile(r"(^```.*?^```$|^ {4}.*?$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"(?P<before>\]\(|<(?:img|a)\b[^>]*? (?:src|href)=\")(?P<path>[^)#\s\":]+)(?P<after>[#)\"])"
)
LANGUAGES = {".py": "python", ".sh": "bash", ".yml": "yaml", ".cff": "yaml", ".toml": "toml"}


class OnceExtension(griffe.Extension):
    """Describes a class in the module that defines it, and not again in the room that hands it on in `__all__`."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Forget what a package, and every package in it, hands on."""
        pkg.exports = None
        for module in pkg.modules.values():
            if not module.is_alias:
                self.on_package(pkg=module)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of docs/, and a page for every other file that a page links to."""
    for name in PULLED_IN:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    shown = {
        path
        for page in files.documentation_pages()
        for path in linked(page.content_string, folder_of(page))
        if site_path(path) == f"{path}.md"
    }
    for path in sorted(shown):
        files.append(
            File.generated(
                config,
                f"{path}.md",
                content=shown_as_page(path),
                inclusion=InclusionLevel.NOT_IN_NAV,
            )
        )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with its links turned from paths in the repository to paths in the site."""
    folder, here = folder_of(page.file), str(Path(page.file.src_uri).parent)

    def moved(link: re.Match) -> str:
        path = normpath(f"{folder}/{link['path']}")
        if not (ROOT / path).exists():
            return link[0]
        found = files.get_file_from_path(site_path(path))
        if found and link["before"].startswith("<"):  # mkdocs leaves what is written in HTML alone
            return f"{link['before']}{found.url_relative_to(page.file)}{link['after']}"
        return f"{link['before']}{relpath(site_path(path), here)}{link['after']}"

    parts = CODE.split(markdown)
    return "".join(
        part if number % 2 else LINK.sub(moved, part) for number, part in enumerate(parts)
    )


def folder_of(file: File) -> str:
    """Return the folder of the repository in which a page of the site lies."""
    outside = file.src_uri in PULLED_IN or not (ROOT / "docs" / file.src_uri).exists()
    return str(Path("." if outside else "docs", file.src_uri).parent)


def linked(markdown: str, folder: str) -> Iterator[str]:
    """Yield the paths in the repository that a page in `folder` links to and that exist."""
    for part in CODE.split(markdown)[::2]:
        for link in LINK.finditer(part):
            path = normpath(f"{folder}/{link['path']}")
            if (ROOT / path).exists():
                yield path


def site_path(path: str) -> str:
    """Return where a file of the repository stands in the site."""
    if path in PULLED_IN:
        return path
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{path}.md"


def shown_as_page(path: str) -> str:
    """Return the page that shows a file, or lists a folder, of the repository."""
    source = ROOT / path
    if source.is_dir():
        text = "\n".join(
            sorted(str(file.relative_to(source)) for file in source.rglob("*") if file.is_file())
        )
    else:
        text = source.read_text()
    return f"# {path}\n\n````{LANGUAGES.get(source.suffix, 'text')}\n{text.rstrip()}\n````\n"
