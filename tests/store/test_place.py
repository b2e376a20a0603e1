"""What people write as a place, and what it means."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from millstream.errors import NotPicklable, UnsupportedError, UsageError
from millstream.store import LocalStore, open_place, open_store
from millstream.store.place import Remote, parse

SRC = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize(
    ("url", "service", "base", "bucket", "prefix"),
    [
        ("s3://b", "s3", "s3://b", "b", ""),
        ("s3://b/", "s3", "s3://b", "b", ""),
        ("s3://b/a/b/", "s3", "s3://b/a/b", "b", "a/b"),
        ("s3://b/a b/ü?x", "s3", "s3://b/a b/ü?x", "b", "a b/ü?x"),
        ("gs://b/a", "gs", "gs://b/a", "b", "a"),
        ("gcs://b/a", "gs", "gcs://b/a", "b", "a"),
        ("az://c/a", "azure", "az://c/a", "c", "a"),
        ("azure://c/a", "azure", "azure://c/a", "c", "a"),
        ("r2://b/a", "r2", "r2://b/a", "b", "a"),
        ("https://h:81/a/b/", "http", "https://h:81/a/b", "h:81", "a/b"),
        ("http://h", "http", "http://h", "h", ""),
        ("hf://datasets/o/n", "hf", "hf://datasets/o/n", "o/n@main", ""),
        ("hf://datasets/o/n@v1/a/b", "hf", "hf://datasets/o/n@v1/a/b", "o/n@v1", "a/b"),
        (
            "hf://datasets/o/n@refs%2Fpr%2F1/a",
            "hf",
            "hf://datasets/o/n@refs%2Fpr%2F1/a",
            "o/n@refs/pr/1",
            "a",
        ),
    ],
)
def test_urls(url: str, service: str, base: str, bucket: str, prefix: str) -> None:
    found = parse(url)
    assert isinstance(found, Remote)
    assert (found.service, str(found)) == (service, base)
    assert (found.bucket, found.prefix) == (bucket, prefix)
    if service != "r2":
        assert str(open_store(url)) == base


@pytest.mark.parametrize(
    ("place", "path", "far"),
    [
        ("/a/b", "/a/b", False),
        ("file:///a/b", "/a/b", False),
        ("local:/a/b", "/a/b", True),
        (Path("/a/b"), "/a/b", False),
        ("a", f"{Path.cwd()}/a", False),
        ("~/a", f"{Path.home()}/a", False),
        ("local:~/a", f"{Path.home()}/a", True),
    ],
)
def test_paths(place: str, path: str, far: bool) -> None:
    assert open_store(place) == open_place(place) == LocalStore(Path(path), far=far)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("", "a path or a URL"),
        (b"s3://b", "a path or a URL"),
        ("s4://b/a", r"s4:// is not known.*s3://"),
        ("s3://", r"s3://BUCKET/PATH"),
        ("s3:///a", r"s3://BUCKET/PATH"),
        ("s3://b/a/../c", r"'\.\.'"),
        ("s3://b/a//c", "empty"),
        ("s3://key:secret@b/a", "storage_options"),
        ("hf://models/o/n", r"hf://datasets/ORG/NAME"),
        ("hf://datasets/n", r"hf://datasets/ORG/NAME"),
        ("https:///a", r"https://HOST/PATH"),
    ],
)
def test_what_is_no_place(place: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        open_store(place)
    assert "secret" not in str(error.value)


def test_a_local_place_takes_no_options(tmp_path: Path) -> None:
    for place in (str(tmp_path), f"local:{tmp_path}", f"file://{tmp_path}", "memory://a"):
        open_store(place, {})
        open_store(place, {"aws_access_key_id": None})
        with pytest.raises(UsageError, match="no meaning"):
            open_store(place, {"aws_access_key_id": "x"})


def test_only_local_places_are_folders() -> None:
    with pytest.raises(UnsupportedError, match="s3://b"):
        open_place("s3://b/a")


def test_memory_is_one_for_all_who_open_it() -> None:
    open_store("memory://shared/a").put("b/c", b"content")
    assert open_store("memory://shared/a/b").get("c") == b"content"
    assert [info.key for info in open_store("memory://shared").list("")] == ["a/b/c"]
    assert list(open_store("memory://share").list("")) == []
    with pytest.raises(NotPicklable, match="one process"):
        pickle.dumps(open_store("memory://shared/a"))
    open_store("memory://shared/a").delete("b/c")


def test_without_obstore_an_error_names_the_extra() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(SRC)!r})
sys.modules["obstore"] = None
from millstream.store import open_store
open_store("/tmp"), open_store("memory://a")
try:
    open_store("s3://bucket/a")
except NotImplementedError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'millstream[cloud]'" in done.stdout
