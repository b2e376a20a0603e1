"""What the kinds of encryption have in common whose key is made of a password."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TypeVar

from millstream.encryption.encryption import (
    Cipher,
    Encryption,
    Level,
    Parameters,
    Sealing,
    check_level,
)
from millstream.encryption.keyfile import AnyPath, ClassOrInstance, read_key_file, write_key_file
from millstream.encryption.library import require_library
from millstream.encryption.passwords import Kdf, Password
from millstream.errors import CannotDecrypt, UsageError

Kind = TypeVar("Kind", bound="PasswordEncryption")


def _load(
    owner: type[Kind],
    instance: Kind | None,
    path: AnyPath,
    password: str | None = None,
) -> Kind:
    """What `save` wrote: on the class with its password, on an object with that object's.

    An object then has what the file holds, and returns itself. Raises CannotDecrypt for another
    password, ObjectNotFound.
    """
    known = None if instance is None else instance._password
    if password is not None:
        known = Password(password)
    if known is None:
        raise UsageError(f"{owner.__name__}.load needs the password that {path} was saved under")
    require_library()
    if instance is None:
        instance = object.__new__(owner)
    return instance._loaded(path, known)


class PasswordEncryption(Encryption):
    """Made of a password and a salt, and so opens whatever that password, with any salt, closed."""

    def __init__(self, password: str, level: Level = "sample") -> None:
        check_level(level)
        require_library()
        self.level = level
        self._password: Password | None = Password(password)
        self._kdf = Kdf()
        self._key: bytes | None = None  # a key that was not made of a password

    # Keys -------------------------------------------------------------------------------------

    def _key_of(self, parameters: Parameters) -> bytes:
        """The key of data with these parameters; raises CannotDecrypt if it cannot be this one."""
        if "kdf" not in parameters:
            if self._key is None:
                raise CannotDecrypt(
                    "is encrypted with a key, and encryption= has a password; pass the key"
                )
            return self._key
        if self._key is not None or self._password is None:
            raise CannotDecrypt(
                "is encrypted with a password, and encryption= has a key; pass the password"
            )
        return self._password.key(Kdf.from_json(parameters["kdf"]))

    def _own(self) -> Parameters:
        """What a chunk says of the key of this object."""
        return {} if self._key is not None else {"kdf": self._kdf.to_json()}

    @abstractmethod
    def _made(self, key: bytes) -> Parameters:
        """What is told of a key that chunks are encrypted with: what to try it with."""

    @abstractmethod
    def _opens(self, key: bytes, parameters: Parameters) -> bool:
        """Whether it is the key that these parameters tell of."""

    def _checked_key(self, parameters: Parameters) -> bytes:
        self.check_kind(parameters)
        key = self._key_of(parameters)
        if not self._opens(key, parameters):
            what = "key" if self._key is not None else "password"
            raise CannotDecrypt(
                f"the {what} of {self!r} is wrong: this was encrypted with another one; pass the "
                "one that the dataset was written with"
            )
        return key

    # What the format asks -----------------------------------------------------------------------

    def sealing(self, shared: Parameters | None = None) -> Sealing:
        """With the salt of a job that goes on, else with that of this object."""
        if shared is None:
            own = self._own()
            key = self._key_of(own)
            shared = {"name": self.kind, **own, **self._made(key)}
        else:
            key = self._checked_key(shared)
        return KeySealing(shared=shared, kind=type(self), key=key)

    def cipher(self, parameters: Parameters) -> Cipher:
        """What opens a chunk with these parameters; raises CannotDecrypt if this does not."""
        return self.cipher_of(self._checked_key(parameters), parameters)

    def check(self, parameters: Parameters) -> None:
        """Raises CannotDecrypt unless chunks with these parameters are of this key."""
        self._checked_key(parameters)

    @staticmethod
    @abstractmethod
    def cipher_of(key: bytes, parameters: Parameters) -> Cipher:
        """That of a chunk."""

    @staticmethod
    @abstractmethod
    def chunk_parameters() -> Parameters:
        """What is told of one more chunk beside what all chunks share."""

    # Key files ----------------------------------------------------------------------------------

    def save(self, path: AnyPath) -> None:
        """Writes a key file, which `load` reads with the same password.

        It holds the salt, and a key that was given beside the password, encrypted under the
        password. Raises UsageError if there is no password, StorageError.
        """
        if self._password is None:
            raise UsageError(
                f"{self!r} has no password to save its key under: make it with password= and key=, "
                "or keep the key where keys are kept"
            )
        key = None if self._key is None else self._key.hex()
        content = {"level": self.level, "key": key}
        write_key_file(path, self.kind, self._password, self._kdf, content)

    def _loaded(self: Kind, path: AnyPath, password: Password) -> Kind:
        kdf, content = read_key_file(path, self.kind, password)
        try:
            level, key = content["level"], content["key"]
            check_level(level)
            self._key = None if key is None else bytes.fromhex(key)
        except (KeyError, TypeError, ValueError):
            raise CannotDecrypt(f"{path} is not a key file that `save` wrote") from None
        self.level, self._kdf, self._password = level, kdf, password
        return self

    load = ClassOrInstance(_load)
    """`load(path, password=None)`: what `save` wrote.

    On the class it makes an object, with the password of the file; on an object it takes that
    object's, unless another is given, and returns the object. CannotDecrypt for another password,
    ObjectNotFound.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySealing:
    """What travels to the workers of a job: the key that was made, not the password."""

    shared: Parameters
    kind: type[PasswordEncryption]
    key: bytes = field(repr=False)

    def chunk(self) -> tuple[Parameters, Cipher]:
        """One more chunk."""
        parameters = {**self.shared, **self.kind.chunk_parameters()}
        return parameters, self.kind.cipher_of(self.key, parameters)
