"""The documentation site, built strictly: links lead somewhere, all public names and arguments are
described and found by search, and nothing comes from another host."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import millstream as ms
from millstream import errors
from millstream.utilities import encryption

ROOT = Path(__file__).parents[2]

# What a browser loads of itself, by the attribute that says where from.
LOADED = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("object", "data"),
    ("video", "src"),
    ("audio", "src"),
    ("embed", "src"),
}
FOREIGN = re.compile(r"(?:https?:)?//[\w.-]+")
FOREIGN_STYLE = re.compile(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)")


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    # Not --quiet: what is not said is not counted, and --strict would find nothing.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(
        [*command, "--config-file", str(config), "--site-dir", str(site)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", place)
    assert done.returncode == 0, done.stderr
    return place


class Loads(HTMLParser):
    """What a page loads: pairs of a tag and an address, and the ids that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        for name, value in values.items():
            if (tag, name) in LOADED and values.get("rel") != "canonical":
                self.found.append((tag, value))
        if "mermaid" in values.get("class", "").split():
            self.found.append((tag, "//mermaid"))  # which the theme's script fetches from afar


def foreign(site: Path) -> Iterator[str]:
    """Whatever pages and style sheets load from another host."""
    for page in site.rglob("*.html"):
        for tag, address in Loads(page.read_text(encoding="utf-8")).found:
            if FOREIGN.match(address):
                yield f"{page.relative_to(site)}: {tag} {address}"
    for sheet in site.rglob("*.css"):
        for address in FOREIGN_STYLE.findall(sheet.read_text(encoding="utf-8")):
            yield f"{sheet.relative_to(site)}: {address}"


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    assert list(site.rglob("*.html"))
    assert list(foreign(site)) == []


def test_what_is_loaded_from_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<link href="https://a.example/x.css"><script src="//b.example/x.js"></script>'
        '<img src="/c.png"><a href="https://d.example">d</a><pre class="mermaid">e</pre>'
    )
    (tmp_path / "x.css").write_text("@import 'https://f.example/x'; a { b: url(//g.example/x) }")
    found = "\n".join(foreign(tmp_path))
    assert [host for host in "abcdefg" if f"//{host}.example" in found] == ["a", "b", "f", "g"]
    assert "mermaid" in found


def left_over(html: str) -> list[str]:
    """What Markdown should have made into something: fences, lists, tables, links, bold text."""
    article = html[html.index("<article") : html.index("</article>")]
    text = re.sub(r"<(pre|code)\b.*?</\1>|<!--.*?-->", "", article, flags=re.DOTALL)
    return re.findall(r"```|\n *(?:[-*]|\d+\.) \w|\| *:?-{2,}|\*\*|\]\(", text)


def test_nothing_is_left_of_markdown(site: Path) -> None:
    pages = list(site.rglob("index.html"))
    found = {page: left_over(page.read_text(encoding="utf-8")) for page in pages}
    assert len(found) > 30
    assert {page: left for page, left in found.items() if left} == {}


def test_what_is_left_of_markdown_is_found() -> None:
    text = "so:\n- a list\n\n| a |\n|---|\n\n**b [c](d)\n1. e\n```sh\n<pre>**</pre>"
    assert left_over(f"<article>{text}</article>") == ["\n- a", "|---", "**", "](", "\n1. e", "```"]


# The reference ------------------------------------------------------------------------------------


def public() -> dict[str, object]:
    """The public names, as the reference calls them."""
    names = {f"millstream.{name}": getattr(ms, name) for name in ms.__all__}
    ciphers = "millstream.utilities.encryption"
    names |= {f"{ciphers}.{name}": getattr(encryption, name) for name in encryption.__all__}
    kinds = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
    return names | {f"millstream.errors.{name}": kind for name, kind in kinds.items()}


def parameters(value: object) -> list[str]:
    """The parameters of a function or of a class; none of an exception."""
    if inspect.isclass(value) and issubclass(value, BaseException):
        return []
    assert callable(value)
    return [name for name in inspect.signature(value).parameters if name not in ("args", "kwargs")]


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    ids: set[str] = set()
    for page in (site / "api").rglob("*.html"):
        ids |= Loads(page.read_text(encoding="utf-8")).ids
    assert set(public()) - ids == set()


@pytest.mark.parametrize("name", sorted(public()))
def test_every_argument_is_described(name: str) -> None:
    value = public()[name]
    text = inspect.getdoc(value) or ""
    assert text
    described = set(re.findall(r"^    (\w+): ", text, re.MULTILINE))
    assert set(parameters(value)) - described == set()


def test_every_argument_is_found_by_search(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    separator = index["config"]["separator"]
    words = {word for page in index["docs"] for word in re.split(separator, page["text"])}
    wanted = {name for value in public().values() for name in parameters(value)}
    assert {"chunk_bytes", "max_cache_size", "profile_dir"} <= wanted
    assert wanted - words == set()


def test_every_option_of_the_commands_is_found_by_search(site: Path) -> None:
    page = Loads((site / "help" / "index.html").read_text(encoding="utf-8"))
    commands = "info ls get plan verify repair prune optimize merge images cache cache-clear"
    assert {f"millstream-{command}" for command in commands.split()} <= page.ids
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    text = "".join(found["text"] for found in index["docs"] if "help/" in found["location"])
    for option in ("--take-over", "--older-than", "--max-sides", "--storage-option"):
        assert option in text


# Links --------------------------------------------------------------------------------------------


def small_site(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """A site with our settings, of one page in docs/ beside one file outside of it."""
    docs = folder / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(text)
    (docs / "hooks.py").write_text((ROOT / "docs" / "hooks.py").read_text())
    (folder / "outside.py").write_text("answer = 42\n")
    for name in ("README", "CHANGELOG", "ARCHITECTURE", "CONTRIBUTING", "benchmarks/README"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.md").write_text(f"# Of {name}\n")
    (folder / "CHANGELOG.md").write_text("# Changes\n\nSee docs/index.md, [it](docs/index.md).\n")
    settings = (ROOT / "mkdocs.yml").read_text()
    config = folder / "mkdocs.yml"
    config.write_text(f"{settings.partition('nav:' + chr(10))[0]}nav: [index.md, help.md]\n")
    return build(config, folder / "site")


def test_a_file_outside_of_docs_becomes_a_page(tmp_path: Path) -> None:
    done = small_site(
        tmp_path,
        "# Page\n\n[it](../outside.py) [to](../benchmarks)\n\n```python\na[0](../b)\n```\n",
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text()
    assert 'href="repository/outside.py/"' in page and 'href="repository/benchmarks/"' in page
    assert "42" in (tmp_path / "site/repository/outside.py/index.html").read_text()
    changes = (tmp_path / "site/repository/CHANGELOG/index.html").read_text()
    assert changes.count('href="../.."') >= 2  # the link, and the page that is only named


@pytest.mark.parametrize(
    "link", ["missing.md", "../missing.py", "#missing", "/index.md"], ids=lambda link: link
)
def test_a_link_to_nothing_fails(tmp_path: Path, link: str) -> None:
    done = small_site(tmp_path, f"# Page\n\n[that]({link})\n")
    assert done.returncode != 0
    assert f"link '{link}'" in done.stderr
