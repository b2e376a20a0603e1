"""When the dictionary of a job is made: once, before any chunk is, from the rows of the first.

It lies in every chunk that uses it, so a job that goes on after a kill finds it in the first chunk;
without that chunk it is made again, and is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData
from millstream.format import Packing, Schema, needs_training
from millstream.format.keys import chunk_key
from millstream.store import ReadableStore
from millstream.writing.inventory import chunk_header
from millstream.writing.placed import Placed


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What is known of it. is_made: or else no chunk can be assembled. content: None if none is
    worth it."""

    is_made: bool
    content: bytes | None = None


NO_DICTIONARY = Dictionary(True)


class DictionaryTurn:
    """Whose turn it is: that of the chunks, or of the dictionary that they need before.

    known: what an earlier run has made.
    """

    def __init__(self, packing: Packing, known: Dictionary) -> None:
        self._packing, self._known = packing, known
        self._is_wanted = False

    @property
    def content(self) -> bytes | None:
        """The dictionary."""
        return self._known.content

    @property
    def holds_chunks(self) -> bool:
        """Whether chunks have to wait for it."""
        return self._is_wanted and not self._known.is_made

    def begins(self, schema: Schema | None) -> bool:
        """Whether it is to be made now, of the first chunk's rows; True once at most."""
        if self._is_wanted or self._known.is_made:
            return False
        self._is_wanted = True
        if schema is None or not needs_training(schema, self._packing):
            self._known = NO_DICTIONARY
        return not self._known.is_made

    def made(self, content: bytes | None) -> None:
        """It is made; None if it is not worth it."""
        self._known = Dictionary(True, content)


def known_dictionary(
    store: ReadableStore, packing: Packing, placed: dict[int, Placed]
) -> Dictionary:
    """What an earlier run of a job has left in its first chunk, if that is in its place."""
    if not packing.trains:
        return NO_DICTIONARY
    if 0 not in placed:
        return Dictionary(False)
    chunk = placed[0].chunk
    key = chunk_key(chunk.digest)
    header = chunk_header(store, key, chunk.size)
    if (found := header.layout.dictionary) is None:
        return NO_DICTIONARY
    checksum, content = (
        bytes(store.get(key, (header.body + span.offset, header.body + span.stop)))
        for span in (found.sum, found.data)
    )
    if xxh3_64_intdigest(content) != int.from_bytes(checksum, "little"):
        raise CorruptData(
            f"{store}/{key} is damaged: its dictionary does not match its checksum; remove the "
            "chunk, and run the same call again"
        )
    return Dictionary(True, content)
