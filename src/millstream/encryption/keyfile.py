"""Key files: what opens data, itself encrypted under a password."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from millstream.encryption.encryption import Parameters, hex_of
from millstream.encryption.library import Aes, subkey
from millstream.encryption.passwords import Kdf, Password
from millstream.errors import CannotDecrypt, ObjectNotFound, StorageError

AnyPath = str | os.PathLike[str]
# No key file is longer, so no more is read.
MAX_FILE_BYTES = 65_536

Made = TypeVar("Made")


def write_key_file(
    path: AnyPath, kind: str, password: Password, kdf: Kdf, content: dict[str, Any]
) -> None:
    """Writes down `content`, sealed under a password; for this user alone, whole or not at all."""
    cipher = Aes.of(subkey(password.key(kdf), "millstream key file"))
    sealed = cipher.seal(json.dumps(content).encode(), kind.encode())
    whole = {"millstream": kind, "kdf": kdf.to_json(), "sealed": sealed.hex()}
    write_private(path, (json.dumps(whole, indent=2) + "\n").encode())


def read_key_file(path: AnyPath, kind: str, password: Password) -> tuple[Kdf, dict[str, Any]]:
    """The inverse; raises CannotDecrypt for another password, or what is no such file."""
    text = read_private(path)
    try:
        found: Parameters = json.loads(text)
        if not isinstance(found, dict) or "millstream" not in found:
            raise ValueError
    except (ValueError, RecursionError):
        raise CannotDecrypt(f"{path} is not a key file that `save` wrote") from None
    if found["millstream"] != kind:
        raise CannotDecrypt(f"{path} is a key file of {found['millstream']!r:.40}, not of {kind!r}")
    try:
        kdf = Kdf.from_json(found.get("kdf"))
        sealed = hex_of(found, "sealed", most=MAX_FILE_BYTES)
        cipher = Aes.of(subkey(password.key(kdf), "millstream key file"))
    except CannotDecrypt as error:
        raise CannotDecrypt(f"{path}: {error}") from None
    try:
        content: dict[str, Any] = json.loads(cipher.open(sealed, kind.encode()))
    except CannotDecrypt:
        raise CannotDecrypt(
            f"the password does not open the key file {path}: it was saved under another one"
        ) from None
    return kdf, content


def write_private(path: AnyPath, content: bytes) -> None:
    """Gives a file its name once it is whole and on the disk; only this user can read it."""
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    try:
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {final}: {error.strerror or error}") from error


def read_private(path: AnyPath) -> bytes:
    """A small file; raises ObjectNotFound, StorageError, and CannotDecrypt if it is not small."""
    try:
        with Path(path).open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ObjectNotFound(f"there is no file {path}") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise CannotDecrypt(f"{path} has more than {MAX_FILE_BYTES:,} bytes; that is no key file")
    return content


@dataclass(frozen=True, slots=True)
class ClassOrInstance:
    """A method that can be called on the class, as on an object: `FernetEncryption.load(path,
    password)` and `fernet.load(path)`. The function gets the class, and the object or None."""

    function: Callable[..., Any]

    def __get__(self, instance: Made | None, owner: type[Made]) -> Callable[..., Made]:
        def method(*args: Any, **kwargs: Any) -> Made:
            made: Made = self.function(owner, instance, *args, **kwargs)
            return made

        method.__doc__ = self.function.__doc__
        return method
