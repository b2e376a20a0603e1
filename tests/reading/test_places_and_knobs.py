"""Dir, session_options, and the arguments that are accepted and do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import make, write

import millstream as ms
from millstream import errors
from millstream.cache import Cache
from millstream.reading.arguments import WITHOUT_EFFECT, joined_options
from millstream.streaming.cache import Dir


def cached(folder: Path) -> int:
    return len(Cache(folder, 1 << 40).entries())


def test_a_dir_is_a_place_and_its_cache(tmp_path: Path) -> None:
    folder, cache = write(tmp_path / "d").root, tmp_path / "cache"
    dataset = ms.StreamingDataset(input_dir=Dir(path=str(cache), url=f"local:{folder}"))
    assert [row["id"] for row in dataset] == list(range(60))
    assert cached(cache) == 3
    assert ms.StreamingDataset(Dir(path=folder))[3]["id"] == make(3)["id"]
    other = ms.StreamingDataset(Dir(url=f"local:{folder}"), cache_dir=tmp_path / "other")
    assert len(list(other)) == 60
    assert cached(tmp_path / "other") == 3
    assert not (tmp_path / "d" / "cache").exists()


def test_a_cache_is_given_once_and_a_place_at_all(tmp_path: Path) -> None:
    folder = write(tmp_path / "d").root
    with pytest.raises(errors.UsageError, match="the cache is given twice"):
        ms.StreamingDataset(Dir(path="one", url=f"local:{folder}"), cache_dir="other")
    with pytest.raises(errors.UsageError, match="names no place"):
        Dir()


def test_what_has_no_effect_says_why_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "d").root
    with pytest.warns(UserWarning) as caught:
        dataset = ms.StreamingDataset(folder, max_pre_download=2, index_path="x/index.json")
    said = [str(warning.message).partition(" has no effect here: ")[0] for warning in caught]
    assert said == list(WITHOUT_EFFECT)
    assert caught[0].filename == __file__
    assert len(dataset) == 60


@pytest.mark.parametrize(
    ("storage", "session", "joined"),
    [
        (None, None, None),
        ({"a": 1}, {}, {"a": 1}),
        (None, {"b": 2}, {"b": 2}),
        ({"a": 1, "b": 3}, {"b": 2, "c": 4}, {"a": 1, "b": 3, "c": 4}),
    ],
)
def test_a_client_s_options_win_over_its_session_s(storage: Any, session: Any, joined: Any) -> None:
    assert joined_options(storage, session) == joined


def test_session_options_reach_the_store(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="storage_options has no 'profil' for s3"):
        ms.StreamingDataset("s3://bucket/d", session_options={"profil": "x"})
