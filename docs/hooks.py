"""What MkDocs cannot know by itself: pages link to files of the repository outside of docs/.

In the repository such a link works as it is. On the site each file that a page links to has a page
of its own below `repository/`, Markdown as a page and anything else as text, so that no link needs
another host. Docstrings name pages as `docs/NAME.md`, which become links. What `--help` of each
command says becomes a page, so that options are found by search.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
BELOW = "repository"

HELP = "help.md"
NOT_FOUND_BY_SEARCH = "---\nsearch:\n  exclude: true\n---\n\n"
# argparse indents the names of commands so.
COMMAND = re.compile(r"^    ([a-z]+)(?: |$)", re.MULTILINE)

# What the navigation names, whether or not a page links to it.
ALWAYS = (
    "README.md",
    "CHANGELOG.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "examples/README.md",
)

LINK = re.compile(r"(?<=\]\()(?![a-z+]+:|#|/)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
FENCED = re.compile(r"(^```(?!`).*?^```\s*$|^````.*?^````\s*$)", re.MULTILINE | re.DOTALL)
# What tests are told of a block of code is nothing to readers; it would not be taken for code.
MARKED = re.compile(r"^(```python) no-run$", re.MULTILINE)
PAGE_NAME = re.compile(r"(?<![\w/.-])docs/([\w-]+)\.md\b")
TAGS = re.compile(r"(<(?:a|pre|script|style)\b.*?</(?:a|pre|script|style)>|<[^>]*>)", re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the files outside of docs/ that pages link to, and those that these link to."""
    waiting = list(ALWAYS)
    for page in files.documentation_pages():
        waiting += outside(f"docs/{page.src_uri}", page.content_string)
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).exists():
            continue  # of a link to nothing MkDocs will say where it is
        seen.add(path)
        text = as_page(path)
        files.append(File.generated(config, page_of(path), content=text))
        waiting += outside(path, text)
    files.append(File.generated(config, HELP, content=help_page()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links as they are in the repository into links as they are on the site."""
    here = page.file.src_uri
    origin = here.removeprefix(f"{BELOW}/") if here.startswith(f"{BELOW}/") else f"docs/{here}"

    def on_site(link: re.Match[str]) -> str:
        path = resolved(origin, link["path"])
        if not (ROOT / path).exists():
            return link[0]
        target = page_of(path)
        return posixpath.relpath(target, posixpath.dirname(here)) + (link["anchor"] or "")

    parts = FENCED.split(markdown)  # every other one is code
    return "".join(
        MARKED.sub(r"\1", part) if n % 2 else LINK.sub(on_site, part)
        for n, part in enumerate(parts)
    )


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes links of the pages that docstrings and the changelog name."""

    def link(name: re.Match[str]) -> str:
        found = files.get_file_from_path(f"{name[1]}.md")
        if found is None:
            return name[0]
        return f'<a href="{found.url_relative_to(page.file)}">{name[0]}</a>'

    parts = TAGS.split(html)
    return "".join(part if n % 2 else PAGE_NAME.sub(link, part) for n, part in enumerate(parts))


def help_page() -> str:
    """All that `--help` says, a heading a command."""
    sys.path.insert(0, str(ROOT / "src"))
    with patch.dict(os.environ, COLUMNS="100"):  # whatever the terminal of who builds this is
        told = list(helps("millstream"))
    return "# What --help says\n" + "".join(
        f"\n## {command}\n\n```text\n{text}```\n" for command, text in told
    )


def helps(command: str) -> Iterator[tuple[str, str]]:
    """A command, and the commands that it has, with their help."""
    from millstream.cli import main

    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        main([*command.split()[1:], "--help"])
    yield command, said.getvalue()
    for name in COMMAND.findall(said.getvalue()):
        yield from helps(f"{command} {name}")


def outside(origin: str, markdown: str) -> Iterator[str]:
    """The paths in the repository, outside of docs/, that a text at `origin` links to."""
    for link in LINK.finditer(FENCED.sub("", markdown)):
        path = resolved(origin, link["path"])
        if not path.startswith("docs/"):
            yield path


def resolved(origin: str, link: str) -> str:
    """The path in the repository that a link means which stands in the file `origin`.

    A folder that has a README is that.
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    readme = f"{path}/README.md"
    return readme if (ROOT / readme).exists() else path


def page_of(path: str) -> str:
    """Where a path of the repository lies among the sources of the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{BELOW}/{path.removesuffix('.md')}.md"


def as_page(path: str) -> str:
    """A file as Markdown; of a folder, links to the programs in it."""
    place = ROOT / path
    if place.is_dir():
        names = sorted(file.name for file in place.iterdir() if file.suffix == ".py")
        listed = "\n".join(f"- [{name}]({place.name}/{name})" for name in names)
        return f"# {path}\n\n{listed}\n"
    text = place.read_text(encoding="utf-8")
    if place.suffix == ".md":
        return text
    language = {".py": "python", ".json": "json"}.get(place.suffix, "text")
    return f"{NOT_FOUND_BY_SEARCH}# {path}\n\n````{language}\n{text}````\n"
