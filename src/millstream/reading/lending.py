"""Memory that the processes of a rank share: one of them has it, and lends it to the others.

It has no name: the others get a descriptor, over a socket that only processes of this user can
use. So what was encrypted lies in no file, and all of it is gone with the last who uses it.
"""

from __future__ import annotations

import os
import pickle
import secrets
import select
import shutil
import socket
import struct
import sys
import tempfile
import threading
import weakref
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from millstream.errors import StorageError
from millstream.execution import wire

# Each keeps a descriptor here, and a mapping of it one in each process, which often has no more
# than 1,024 of them.
MOST = 200
# After the bytes: one that is not zero once others get other memory by the same name.
TAIL_BYTES = 64
_CREDENTIALS = struct.Struct("3i")  # process, user, group

# Whose memory, and of which chunk.
Key = tuple[bytes, str]
# Asks for the file that all lock bytes of.
LOCKS: Key = b"", "locks"


@dataclass(frozen=True, slots=True)
class _Lent:
    descriptor: int
    size: int


class Holdings:
    """Memory by key, the longest unasked given up first.

    limit: of bytes, all together; a single one may be larger.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, _Lent] = OrderedDict()
        self._nbytes = 0
        self._locks = new_memory(0)

    def descriptor(self, key: Key, size: int) -> int:
        """Of memory that all who ask with this key share; the caller closes it.

        Raises StorageError if there is none.
        """
        if key == LOCKS:
            return os.dup(self._locks)
        with self._lock:
            lent = self._held.get(key)
            if lent is None:
                self._make_room(size)
                lent = self._held[key] = _Lent(new_memory(size + TAIL_BYTES), size)
                self._nbytes += size
            self._held.move_to_end(key)
            return os.dup(lent.descriptor)

    def _make_room(self, size: int) -> None:
        while self._held and (len(self._held) >= MOST or self._nbytes + size > self._limit):
            _, lent = self._held.popitem(last=False)
            self._nbytes -= lent.size
            os.pwrite(lent.descriptor, b"\1", lent.size)
            os.close(lent.descriptor)

    def close(self) -> None:
        """Gives all up. Who has it mapped reads on."""
        with self._lock:
            for lent in self._held.values():
                os.close(lent.descriptor)
            self._held.clear()
            self._nbytes = 0
            os.close(self._locks)


def new_memory(size: int) -> int:
    """The descriptor of bytes that are zero, and take memory only where they are written."""
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("millstream", os.MFD_CLOEXEC)
        else:
            # What is shared memory elsewhere can neither be locked nor written to as a file.
            descriptor, name = tempfile.mkstemp()
            Path(name).unlink()
        os.ftruncate(descriptor, size)
    except OSError as error:
        raise StorageError(
            f"there is no memory for {size:,} bytes of an opened chunk ({error.strerror}): write "
            "smaller chunks, or use fewer workers"
        ) from error
    return descriptor


class Lender:
    """Holdings, and from `listen` on a thread that lends them to other processes."""

    def __init__(self, limit: int) -> None:
        self.holdings, self._owner = Holdings(limit), os.getpid()
        self._lock = threading.Lock()
        self._service: _Service | None = None
        self.address: str | None = None
        weakref.finalize(self, _close_in, self._owner, self.holdings)

    def listen(self) -> str:
        """The address at which other processes may ask."""
        with self._lock:
            if self.address is None:
                listener, self.address = _listener()
                ended, end = socket.socketpair()
                self._service = _Service(listener, ended, self.holdings)
                threading.Thread(target=self._service.serve, daemon=True).start()
                weakref.finalize(self, end.close)
            return self.address

    def leave_to_parent(self) -> None:
        """In a fork: whoever asks must not wait for an answer from here."""
        if self._service is not None:
            self._service.close()


def _close_in(owner: int, holdings: Holdings) -> None:
    if os.getpid() == owner:
        holdings.close()


class _Service:
    """Answers who is connected: a request is a key and a size, an answer a descriptor."""

    def __init__(self, listener: socket.socket, ended: socket.socket, holdings: Holdings) -> None:
        self._listener, self._ended, self._holdings = listener, ended, holdings
        self._connected: dict[int, socket.socket] = {}
        self._poll = select.poll()
        for one in (listener, ended):
            self._poll.register(one, select.POLLIN)

    def serve(self) -> None:
        """Answers until the lender is gone."""
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._ended.fileno() in ready:
                break
            if self._listener.fileno() in ready:
                self._accept()
            for connection in [self._connected[n] for n in ready if n in self._connected]:
                self._answer(connection)
        self.close()

    def close(self) -> None:
        """Closes all sockets."""
        for one in (self._listener, self._ended, *self._connected.values()):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            if not is_same_user(connection):
                connection.close()
                return
            self._connected[connection.fileno()] = connection
            self._poll.register(connection, select.POLLIN)

    def _answer(self, connection: socket.socket) -> None:
        try:
            message = wire.receive(connection)
            if message is None:
                raise OSError("it has ended")
            key, size = pickle.loads(message[0])
            self._lend(connection, key, size)
        except OSError:
            self._poll.unregister(connection)
            del self._connected[connection.fileno()]
            connection.close()

    def _lend(self, connection: socket.socket, key: Key, size: int) -> None:
        try:
            descriptor = self._holdings.descriptor(key, size)
        except StorageError as error:
            wire.send(connection, [str(error).encode()])
            return
        try:
            wire.send(connection, [b""], descriptor)
        finally:
            os.close(descriptor)


def _listener() -> tuple[socket.socket, str]:
    listener = socket.socket(socket.AF_UNIX)
    if sys.platform == "linux":  # an address that is in no folder
        address = f"\0millstream-{secrets.token_hex(16)}"
    else:
        folder = tempfile.mkdtemp()
        weakref.finalize(listener, shutil.rmtree, folder, ignore_errors=True)
        address = f"{folder}/lender"
    listener.bind(address)
    listener.listen()
    return listener, address


def is_same_user(connection: socket.socket) -> bool:
    """Whether the other end is this user's; where that cannot be asked, its folder is."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(found)[1] == os.getuid())


class Borrower:
    """A connection to a lender in another process."""

    def __init__(self, address: str) -> None:
        """Raises OSError if nobody of this user lends there."""
        self._socket = socket.socket(socket.AF_UNIX)
        weakref.finalize(self, self._socket.close)
        self._socket.connect(address)
        if not is_same_user(self._socket):
            raise ConnectionError("another user's")

    def descriptor(self, key: Key, size: int) -> int:
        """As that of Holdings; raises OSError if the lender is gone."""
        wire.send(self._socket, [pickle.dumps((key, size))])
        descriptors: list[int] = []
        message = wire.receive(self._socket, descriptors)
        if message is None:
            raise ConnectionError("the process that lends has ended")
        if not descriptors:
            raise StorageError(bytes(message[0]).decode())
        return descriptors[0]
