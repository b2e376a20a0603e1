"""A conformance suite for stores: what millstream relies on, as tests that a store must pass.

    from millstream.testing import StoreSuite

    class TestMyStore(StoreSuite):
        def make_store(self):
            return MyStore(...)

pytest finds the methods; nothing but `assert` is used. The suite works below one folder with a
random name, and removes what it made. What a store cannot do is overridden, not skipped: for a
store that can only be read, say what shall happen instead.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Barrier

from millstream.errors import CorruptData, ObjectChanged
from millstream.store import ObjectInfo, Store

__all__ = ["StoreSuite"]

WRITERS = 8
# Each is one key; every store has to tell them apart, and to give them back as they were.
ODD_KEYS = [
    "with space",
    "plus+and&equals=",
    "percent%2Fsign%",
    "hash#question?semi;colon:comma,",
    "at@dollar$bang!star*quote'",
    "(brackets)[and]{braces}",
    "UPPER and lower",
    "ümlaut-日本語-🙂",
    "tilde~dot.dash-under_",
    ".hidden",
    "a",
    "a-b/c",
    "a.b/c",
    "deep/er/and/deep/er",
    "x" * 200,
]


class StoreSuite:
    """Subclass it, give it a store, and let pytest collect the subclass.

    large_bytes: the size of the largest object that is written; more than one part of a multipart
    upload. many_objects: how many are listed at once; more than a page of most servers.
    """

    large_bytes = 20_000_000
    many_objects = 1_100

    def make_store(self) -> Store:
        """The store under test, new for each test; others may use the same place meanwhile."""
        raise NotImplementedError("return a store from make_store()")

    @cached_property
    def store(self) -> Store:
        """The store of one test: pytest makes an object of the class for each."""
        return self.make_store()

    @cached_property
    def here(self) -> str:
        """The folder of one test."""
        return f"suite-{secrets.token_hex(8)}"

    def teardown_method(self) -> None:
        """Removes what is in the folder."""
        for found in list(self.store.list(f"{self.here}/")):
            self.store.delete(found.key)

    def key(self, name: str) -> str:
        """A key in the folder of this test."""
        return f"{self.here}/{name}"

    def keys(self, prefix: str = "") -> list[str]:
        """The listed keys below the folder of this test, without it."""
        found = self.store.list(f"{self.here}/{prefix}")
        return [info.key.removeprefix(f"{self.here}/") for info in found]

    # Reading --------------------------------------------------------------------------------

    def test_what_was_put_is_got(self) -> None:
        self.store.put(self.key("a"), b"content")
        assert self.store.get(self.key("a")) == b"content"
        assert self.store.size(self.key("a")) == 7

    def test_an_object_may_be_empty(self) -> None:
        self.store.put(self.key("a"), b"")
        assert self.store.get(self.key("a")) == b""
        assert self.store.size(self.key("a")) == 0

    def test_any_bytes_come_back(self) -> None:
        content = bytes(range(256)) * 300 + b"\r\n\x00"
        self.store.put(self.key("a"), content)
        assert self.store.get(self.key("a")) == content

    def test_a_span_is_exactly_what_was_asked_for(self) -> None:
        content = secrets.token_bytes(10_000)
        self.store.put(self.key("a"), content)
        for start, stop in [(0, 1), (0, 10_000), (9_999, 10_000), (123, 4_567), (5_000, 10_000)]:
            assert bytes(self.store.get(self.key("a"), (start, stop))) == content[start:stop]

    def test_an_empty_span_is_empty(self) -> None:
        self.store.put(self.key("a"), b"content")
        for at in (0, 3, 7):
            assert bytes(self.store.get(self.key("a"), (at, at))) == b""

    def test_a_span_past_the_end_is_an_error(self) -> None:
        self.store.put(self.key("a"), b"content")
        for span in [(0, 8), (6, 9), (7, 8), (100, 200)]:
            with raises(CorruptData):
                self.store.get(self.key("a"), span)

    def test_a_missing_object_is_not_found(self) -> None:
        self.store.put(self.key("there/a"), b"content")
        for name in ("missing", "there", "there/a/b", "there/ab"):
            with raises(FileNotFoundError):
                self.store.get(self.key(name))
            with raises(FileNotFoundError):
                self.store.get(self.key(name), (0, 1))
            with raises(FileNotFoundError):
                self.store.size(self.key(name))

    def test_many_threads_read_at_once(self) -> None:
        content = secrets.token_bytes(64_000)
        self.store.put(self.key("a"), content)

        def read(at: int) -> bool:
            return bytes(self.store.get(self.key("a"), (at, at + 1_000))) == content[at : at + 1000]

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(read, range(0, 63_000, 500)))

    # Writing --------------------------------------------------------------------------------

    def test_put_replaces(self) -> None:
        self.store.put(self.key("a"), b"the old one, which is longer")
        self.store.put(self.key("a"), b"the new one")
        assert self.store.get(self.key("a")) == b"the new one"

    def test_put_if_absent_makes_an_object_once(self) -> None:
        assert self.store.put_if_absent(self.key("a"), b"first")
        assert not self.store.put_if_absent(self.key("a"), b"second")
        assert self.store.get(self.key("a")) == b"first"

    def test_put_if_absent_does_not_replace_what_put_made(self) -> None:
        self.store.put(self.key("a"), b"first")
        assert not self.store.put_if_absent(self.key("a"), b"second")
        assert not self.store.put_if_absent(self.key("a"), b"first")
        assert self.store.get(self.key("a")) == b"first"

    def test_of_many_writers_one_wins(self) -> None:
        start = Barrier(WRITERS)

        def write(writer: int) -> bool:
            start.wait()
            return self.store.put_if_absent(self.key(f"race-{attempt}"), b"%d" % writer)

        with ThreadPoolExecutor(WRITERS) as pool:
            for attempt in range(2):
                won = list(pool.map(write, range(WRITERS)))
                assert won.count(True) == 1, won
                assert self.store.get(self.key(f"race-{attempt}")) == b"%d" % won.index(True)

    def test_its_condition_holds(self) -> None:
        self.store.check_conditional_put()
        assert self.keys() == []

    def test_a_large_file_arrives_whole(self) -> None:
        content = secrets.token_bytes(self.large_bytes)
        with self.file(content) as path:
            self.store.put_file(self.key("large"), path)
        assert self.store.size(self.key("large")) == len(content)
        assert self.store.get(self.key("large")) == content
        span = (len(content) // 2, len(content))
        assert bytes(self.store.get(self.key("large"), span)) == content[span[0] :]

    def test_a_small_and_an_empty_file_arrive_too(self) -> None:
        for content in (b"content", b""):
            with self.file(content) as path:
                self.store.put_file(self.key("a"), path)
            assert self.store.get(self.key("a")) == content

    def test_a_missing_file_is_an_error_and_no_object(self) -> None:
        with raises(FileNotFoundError):
            self.store.put_file(self.key("a"), Path(os.sep, "no", "such", "file"))
        assert self.keys() == []

    def test_copy_makes_another_object(self) -> None:
        self.store.put(self.key("a"), b"content")
        self.store.put(self.key("there/b"), b"the old one")
        self.store.copy(self.key("a"), self.key("there/b"))
        self.store.copy(self.key("a"), self.key("c"))
        self.store.delete(self.key("a"))
        assert self.store.get(self.key("there/b")) == self.store.get(self.key("c")) == b"content"
        with raises(FileNotFoundError):
            self.store.copy(self.key("a"), self.key("d"))

    def test_delete_removes_one_object(self) -> None:
        for name in ("a", "ab", "a-b"):
            self.store.put(self.key(name), b"content")
        self.store.delete(self.key("a"))
        assert self.keys() == ["a-b", "ab"]
        with raises(FileNotFoundError):
            self.store.get(self.key("a"))
        assert self.store.put_if_absent(self.key("a"), b"again")

    def test_deleting_nothing_is_fine(self) -> None:
        self.store.delete(self.key("missing"))
        self.store.delete(self.key("missing/too"))

    def test_keys_that_lead_elsewhere_are_refused(self) -> None:
        for key in ("", "../a", "a/../../b", "/a", "a/", "a//b", "./a", "a\nb"):
            for refused in (self.store.get, self.store.size, self.store.delete):
                with raises(ValueError):
                    refused(key)
            with raises(ValueError):
                self.store.put(key, b"content")

    # Listing --------------------------------------------------------------------------------

    def test_nothing_is_listed_where_nothing_is(self) -> None:
        assert self.keys() == []
        found = self.store.folder(f"{self.here}/")
        assert (list(found.folders), list(found.objects)) == ([], [])

    def test_a_listing_is_complete_and_sorted(self) -> None:
        names = ["b", "a/b", "a-b", "a0", "a/a", "a/b-c", "B", "a/b0/x"]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self.store.put(self.key(name), name.encode()), names))
        assert self.keys() == sorted(names)
        sizes = {info.key: info.size for info in self.store.list(f"{self.here}/")}
        assert sizes == {self.key(name): len(name) for name in names}

    def test_a_prefix_is_whole_parts(self) -> None:
        for name in ("data/a", "data2/b", "data-old/c", "dat/d", "data/sub/e"):
            self.store.put(self.key(name), b"")
        assert self.keys("data/") == ["data/a", "data/sub/e"]
        assert self.keys("data/sub/") == ["data/sub/e"]

    def test_long_listings_are_complete(self) -> None:
        names = [f"many/{number:04}" for number in range(self.many_objects)]
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda name: self.store.put(self.key(name), b""), names))
            assert self.keys("many/") == names
            list(pool.map(lambda name: self.store.delete(self.key(name)), names))
        assert self.keys() == []

    def test_odd_characters_in_keys(self) -> None:
        for key in ODD_KEYS:
            self.store.put(self.key(f"odd/{key}"), key.encode())
        for key in ODD_KEYS:
            assert self.store.get(self.key(f"odd/{key}")) == key.encode(), key
        assert self.keys("odd/") == sorted(f"odd/{key}" for key in ODD_KEYS)

    def test_a_folder_lists_what_is_directly_in_it(self) -> None:
        for name in ("f/a", "f/b/c", "f/b/d/e", "f/z/y", "fa", "f/a b/c"):
            self.store.put(self.key(name), b"content")
        found = self.store.folder(f"{self.here}/f/")
        assert list(found.folders) == ["a b", "b", "z"]
        assert [(info.key, info.size) for info in found.objects] == [(self.key("f/a"), 7)]

    def listed(self, name: str) -> ObjectInfo:
        """What a listing of the folder of this test says of an object."""
        (found,) = [
            o for o in self.store.folder(f"{self.here}/").objects if o.key == self.key(name)
        ]
        assert found in list(self.store.list(f"{self.here}/"))
        return found

    def test_a_listed_object_is_read_as_it_was_listed(self) -> None:
        content = secrets.token_bytes(5_000)
        self.store.put(self.key("a"), content)
        self.store.put(self.key("empty"), b"")
        listed = self.listed("a")
        assert bytes(self.store.get_listed(listed)) == content
        for span in [(0, 5_000), (17, 300), (4_999, 5_000), (3, 3)]:
            assert bytes(self.store.get_listed(listed, span)) == content[slice(*span)]
        assert bytes(self.store.get_listed(self.listed("empty"))) == b""

    def test_an_object_that_is_not_the_listed_one_is_an_error(self) -> None:
        self.store.put(self.key("a"), b"content")
        listed = self.listed("a")
        for other in (b"contents", b"conten", b"", b"CONTENT"):
            self.store.put(self.key("a"), other)
            now = self.listed("a")
            if (now.size, now.tag) != (listed.size, listed.tag):  # as far as this store can say
                for span in (None, (0, 7), (5, 7)):
                    with raises(ObjectChanged):
                        self.store.get_listed(listed, span)
            assert bytes(self.store.get_listed(now)) == other
        self.store.delete(self.key("a"))
        with raises(FileNotFoundError):
            self.store.get_listed(listed)

    # ----------------------------------------------------------------------------------------

    @contextmanager
    def file(self, content: bytes) -> Iterator[Path]:
        """A file with this content, for as long as the context lasts."""
        with tempfile.TemporaryDirectory(prefix="store-suite-") as folder:
            path = Path(folder, "file")
            path.write_bytes(content)
            yield path


class raises:  # noqa: N801 - reads as a clause: with raises(ValueError)
    """Fails if its block does not raise an error of this kind."""

    def __init__(self, kind: type[BaseException]) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        assert kind is not None, f"no {self._kind.__name__} was raised"
        return issubclass(kind, self._kind)
