"""Encryption, to be subclassed by users, and what the format asks of each kind of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from millstream.errors import CannotDecrypt, FunctionError, UsageError

# sample: each row alone. chunk: all rows of a chunk at once.
Level = Literal["sample", "chunk"]
# What a chunk says of how it is encrypted: JSON values, and no key.
Parameters = Mapping[str, object]
Buffer = bytes | memoryview

_CHECK = b"millstream"


class Cipher(Protocol):
    """Encrypts and decrypts what is in one chunk.

    place: which chunk, and where in it. What can bind the ciphertext to its place does.
    """

    def seal(self, data: Buffer, place: bytes) -> bytes:
        """The ciphertext of some bytes."""

    def open(self, data: Buffer, place: bytes) -> bytes:
        """The inverse of `seal`; raises CannotDecrypt for any other bytes."""


class Sealing(Protocol):
    """What a job encrypts with: as little as that takes, since it travels to all workers."""

    @property
    def shared(self) -> Parameters:
        """What the parameters of all chunks of the job have in common."""

    def chunk(self) -> tuple[Parameters, Cipher]:
        """The parameters of one more chunk, which its reader needs, and its cipher."""


class Encryption(ABC):
    """How the rows of a dataset are encrypted: subclass it with `encrypt` and `decrypt`.

    Both are called in worker processes, to which the object travels by pickle.

    The other methods are what this library asks of its own kinds; a subclass can leave them alone.
    """

    level: Level = "sample"
    """Whether they are called with each row, "sample", or with all rows of a chunk, "chunk"."""
    # How a chunk names it.
    kind: ClassVar[str] = "custom"

    @abstractmethod
    def encrypt(self, data: bytes) -> bytes:
        """The ciphertext of some bytes."""

    @abstractmethod
    def decrypt(self, data: bytes) -> bytes:
        """The inverse of `encrypt`; raises whatever it likes for other bytes."""

    def sealing(self, shared: Parameters | None = None) -> Sealing:
        """What a job encrypts with. shared: of a job that goes on; raises CannotDecrypt if this is
        not what it was begun with."""
        if shared is not None:
            self.check(shared)
        else:
            sealed = _call(self, self.encrypt, _CHECK)
            shared = {"name": self.kind, "class": type(self).__qualname__, "check": sealed.hex()}
        return _CustomSealing(shared=shared, encryption=self)

    def cipher(self, parameters: Parameters) -> Cipher:
        """What opens a chunk with these parameters; raises CannotDecrypt if this does not."""
        self.check_kind(parameters)
        cipher = _Custom(self)
        sealed = hex_of(parameters, "check", most=1 << 16)
        try:
            opens = cipher.open(sealed, b"") == _CHECK
        except CannotDecrypt:
            opens = False
        if not opens:
            raise CannotDecrypt(
                f"{self!r} does not open what was encrypted with {parameters.get('class')!r:.80}; "
                "pass the encryption, and the key, that the dataset was written with"
            )
        return cipher

    def check(self, parameters: Parameters) -> None:
        """Raises CannotDecrypt unless chunks with these parameters are of this key."""
        self.cipher(parameters)

    def check_kind(self, parameters: Parameters) -> None:
        """Raises CannotDecrypt unless chunks with these parameters are of this kind."""
        if (name := parameters.get("name")) != self.kind:
            raise CannotDecrypt(
                f"is encrypted with {name!r:.40}, and encryption= is {self!r} ({self.kind!r}); "
                "pass the encryption that the dataset was written with"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(level={self.level!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CustomSealing:
    shared: Parameters
    encryption: Encryption = field(repr=False)

    def chunk(self) -> tuple[Parameters, Cipher]:
        return self.shared, _Custom(self.encryption)


@dataclass(frozen=True, slots=True)
class _Custom:
    """Calls a subclass, whatever that raises."""

    encryption: Encryption = field(repr=False)

    def seal(self, data: Buffer, place: bytes) -> bytes:
        return _call(self.encryption, self.encryption.encrypt, data)

    def open(self, data: Buffer, place: bytes) -> bytes:
        try:
            return _call(self.encryption, self.encryption.decrypt, data)
        except FunctionError as error:
            raise CannotDecrypt(str(error)) from error.__cause__


def _call(encryption: Encryption, method: Callable[[bytes], bytes], data: Buffer) -> bytes:
    """What a method of a subclass gives. Of an error only the type is told: its text may hold
    what nobody is to see."""
    name = f"{type(encryption).__name__}.{method.__name__}"
    try:
        result: object = method(bytes(data))
    except Exception as error:
        raise FunctionError(f"{name} raised {type(error).__name__}") from error
    if not isinstance(result, bytes | bytearray | memoryview):
        raise FunctionError(f"{name} returned a {type(result).__name__}, expected bytes")
    return bytes(result)


def check_level(level: object) -> None:
    """Raises UsageError for what is no level."""
    if level not in ("sample", "chunk"):
        raise UsageError(f'level is {level!r:.40}, expected "sample" or "chunk"')


def check_encryption(encryption: object) -> None:
    """Raises UsageError for what is neither an Encryption nor None."""
    if encryption is None:
        return
    if not isinstance(encryption, Encryption):
        # Not its repr: it may be the password itself.
        raise UsageError(
            f"encryption is a {type(encryption).__name__}, expected an Encryption such as "
            "FernetEncryption(password=...), from millstream.utilities.encryption"
        )
    check_level(encryption.level)


def hex_of(parameters: Parameters, name: str, *, most: int) -> bytes:
    """Bytes among parameters, at most so many; raises CannotDecrypt for anything else."""
    value = parameters.get(name)
    if isinstance(value, str) and len(value) <= 2 * most:
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    raise CannotDecrypt(f"its parameter {name!r} is not up to {most} bytes in hex")
