"""Each promise of a store is one that the conformance suite finds broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millstream.store import Folder, ObjectInfo
from millstream.store.memory import MemoryStore
from millstream.testing import StoreSuite


class ShortSpans(MemoryStore):
    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        content = super().get(key)
        return content if span is None else content[slice(*span)]


class EverybodyWins(MemoryStore):
    def put_if_absent(self, key: str, content: bytes) -> bool:
        self.put(key, content)
        return True


class NobodyKnows(MemoryStore):
    def put_if_absent(self, key: str, content: bytes) -> bool:
        missing = not any(info.key == key for info in self.list(""))
        if missing:
            self.put(key, content)
        return missing


class Unsorted(MemoryStore):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(sorted(super().list(prefix), key=lambda info: info.key.split("/")))


class PrefixOfText(MemoryStore):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return super().list(prefix.removesuffix("/"))


class FirstPage(MemoryStore):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(list(super().list(prefix))[:1_000])


class DeletesMore(MemoryStore):
    def delete(self, key: str) -> None:
        for info in list(self.list(key)):
            super().delete(info.key)


class DeepFolders(MemoryStore):
    def folder(self, prefix: str) -> Folder:
        return Folder(folders=[], objects=list(self.list(prefix)))


class CutsFiles(MemoryStore):
    def put_file(self, key: str, path: Any) -> None:
        self.put(key, Path(path).read_bytes()[:10_000_000])


class Moves(MemoryStore):
    def copy(self, key: str, to: str) -> None:
        super().copy(key, to)
        self.delete(key)


class Replaces(MemoryStore):
    def put(self, key: str, content: bytes) -> None:
        self.put_if_absent(key, content)


class NoMissing(MemoryStore):
    def size(self, key: str) -> int:
        return next((info.size for info in self.list("") if info.key == key), 0)


class PercentDecodes(MemoryStore):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in super().list(prefix):
            key = info.key.replace("%2F", "/")
            yield ObjectInfo(key=key, size=info.size, modified=info.modified)


class TakesAnyForListed(MemoryStore):
    def get_listed(self, listed: ObjectInfo, span: tuple[int, int] | None = None) -> bytes:
        return self.get(listed.key)[slice(*(span or (0, None)))]


class ListedInTwoWays(MemoryStore):
    def folder(self, prefix: str) -> Folder:
        found = super().folder(prefix)
        return replace(found, objects=[replace(info, tag="") for info in found.objects])


BROKEN = {
    TakesAnyForListed: "test_an_object_that_is_not_the_listed_one_is_an_error",
    ListedInTwoWays: "test_a_listed_object_is_read_as_it_was_listed",
    ShortSpans: "test_a_span_past_the_end_is_an_error",
    EverybodyWins: "test_put_if_absent_makes_an_object_once",
    NobodyKnows: "test_of_many_writers_one_wins",
    Unsorted: "test_a_listing_is_complete_and_sorted",
    PrefixOfText: "test_a_prefix_is_whole_parts",
    FirstPage: "test_long_listings_are_complete",
    DeletesMore: "test_delete_removes_one_object",
    DeepFolders: "test_a_folder_lists_what_is_directly_in_it",
    CutsFiles: "test_a_large_file_arrives_whole",
    Moves: "test_copy_makes_another_object",
    Replaces: "test_put_replaces",
    NoMissing: "test_a_missing_object_is_not_found",
    PercentDecodes: "test_odd_characters_in_keys",
}


@pytest.mark.parametrize(("kind", "name"), BROKEN.items(), ids=[kind.__name__ for kind in BROKEN])
def test_a_broken_promise_is_found(kind: type[MemoryStore], name: str) -> None:
    if kind is NobodyKnows:
        kind = _racing(kind)
    suite = _suite(kind)
    check: Callable[[], None] = getattr(suite, name)
    with pytest.raises((AssertionError, LookupError, FileNotFoundError)):
        check()
    whole = _suite(MemoryStore)
    getattr(whole, name)()
    whole.teardown_method()


def _suite(kind: type[MemoryStore]) -> StoreSuite:
    class Suite(StoreSuite):
        def make_store(self) -> MemoryStore:
            return kind(f"memory://broken-{kind.__name__}")

    return Suite()


def _racing(kind: type[MemoryStore]) -> type[MemoryStore]:
    """One in which all writers look before any writes."""
    from threading import Barrier

    all_looked = Barrier(8)

    class Racing(kind):  # type: ignore[valid-type, misc]
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            found = list(super().list(prefix))
            all_looked.wait(timeout=60)
            return iter(found)

    return Racing
