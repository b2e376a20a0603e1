"""The examples that read files, texts and pages, run as a user would, on small real data."""

from __future__ import annotations

import html
import json
import sysconfig
from collections import Counter
from importlib.metadata import distributions
from pathlib import Path

import pytest
from PIL import Image
from running import run
from servers.faultproxy import FaultProxy
from servers.faults import Status
from servers.http import HTTPServer

import millstream as ms
from photos import make_photos

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installed packages say of themselves."""
    folder = tmp_path_factory.mktemp("texts")
    for found in distributions():
        text = found.metadata.get_payload()
        if found.name in ("pillow", "numpy", "hypothesis", "pytest", "tqdm") and text:
            (folder / f"{found.name}.txt").write_text(str(text))
    return folder


def test_resize_photos(tmp_path: Path) -> None:
    paths = make_photos(tmp_path / "photos", 20)
    output = tmp_path / "small"
    assert "20 files of 20 inputs" in run("resize_photos.py", tmp_path / "photos", output, 128)
    for path in paths:
        with Image.open(output / path.relative_to(tmp_path / "photos")) as image:
            assert max(image.size) == 128
    (output / paths[3].relative_to(tmp_path / "photos")).unlink()
    run("resize_photos.py", tmp_path / "photos", output, 128)
    assert len(list(output.rglob("*.jpg"))) == 20


def test_embed_texts(tmp_path: Path, texts: Path) -> None:
    out = run("embed_texts.py", texts, tmp_path / "d", "opening and saving image files")
    assert "ima" in out.splitlines()[1].lower()
    found = ms.StreamingDataset(tmp_path / "d")
    assert len(found) > 20
    assert found[0]["vector"].shape == (256,)
    assert {row["file"] for row in found} == {path.name for path in texts.iterdir()}


def test_tokenize_text(tmp_path: Path) -> None:
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("a*.py"))
    (tmp_path / "texts").mkdir()
    for source in sources:
        (tmp_path / "texts" / source.name).write_bytes(source.read_bytes())
    out = run("tokenize_text.py", tmp_path / "texts", tmp_path / "d", 128)
    assert "came once, and no other" in out
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{tmp_path / 'd'}.tokenizer.json")
    documents = list(ms.StreamingDataset(tmp_path / "d"))
    assert len(documents) == len(sources)
    for source, tokens in zip(sources, documents, strict=True):
        text = source.read_text(encoding="utf-8", errors="replace")
        assert tokenizer.decode(tokens.tolist()) == text
        assert 2 * len(tokens) < len(text)  # it has learned something


def test_scrape_pages(tmp_path: Path, texts: Path) -> None:
    (tmp_path / "site").mkdir()
    for path in texts.iterdir():
        text = html.escape(path.read_text())
        page = f"<html><script>var no = 1;</script><title>{path.stem}</title><p>{text}</p></html>"
        (tmp_path / "site" / f"{path.stem}.html").write_text(page)
    names = sorted(path.name for path in (tmp_path / "site").iterdir())
    with HTTPServer(tmp_path / "site") as server, FaultProxy(server.url) as proxy:
        # Each page is refused once, and is to be asked for again at once.
        proxy.do(Status(code=503, headers={"Retry-After": "0"}, per_key=True, times=1))
        urls = [f"{proxy.url}/{name}" for name in [*names, "missing.html"]]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        out = run("scrape_pages.py", tmp_path / "urls.txt", tmp_path / "d", 1_000)
        asked = Counter(request.key for request in proxy.tally().log)
        assert set(asked.values()) == {2}
        assert len(asked) == len(names) + 1
        proxy.reset()
        run("scrape_pages.py", tmp_path / "urls.txt", tmp_path / "d", 1_000)
        again = Counter(request.key for request in proxy.tally().log)
    assert "1 inputs skipped" in out
    # What is there is not asked for again; what failed is.
    assert [key for key in again if "missing" not in key] == []
    assert len(again) == 1
    pages = [json.loads(path.read_text()) for path in (tmp_path / "d").glob("*.json")]
    assert sorted(page["url"] for page in pages) == urls[:-1]
    by_url = {page["url"]: page["text"] for page in pages}
    for name in names:
        words = (texts / name).with_suffix(".txt").read_text().split()
        assert by_url[f"{proxy.url}/{name}"].split() == [name.removesuffix(".html"), *words]
