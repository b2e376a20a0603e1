"""An object into a file, through failures, in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

if TYPE_CHECKING:
    from obstore import GetOptions

PIECE_BYTES = 1 << 20


class Download:
    """What has come of an object so far. finished: whether that is all of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._done, self._tag = 0, ""
        self.finished = False

    def go_on(self, client: ObjectStore, key: str) -> None:
        """Asks for what is missing. Returns if anything came, so that who tries again, by asking
        until it is finished, gives up only on an object that does not move."""
        before = self._done
        try:
            self._fetch(client, key)
        except BaseError:
            if self._done <= before:
                raise

    def _fetch(self, client: ObjectStore, key: str) -> None:
        # Without a range at first: not every web server has them, and few objects are cut.
        rest: GetOptions = {"range": {"offset": self._done}} if self._done else {}
        result = obstore.get(client, key, options=rest)
        tag = f"{result.meta['e_tag']} {result.meta['size']}"
        if self._done and tag != self._tag:  # another object by now
            self._begin_again()
            result = obstore.get(client, key)
            tag = f"{result.meta['e_tag']} {result.meta['size']}"
        self._tag = tag
        for piece in result.stream(min_chunk_size=PIECE_BYTES):
            self._file.write(piece)
            self._done += len(piece)
        self.finished = self._done == result.meta["size"]

    def _begin_again(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._done = 0
