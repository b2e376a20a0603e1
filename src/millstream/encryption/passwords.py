"""Passwords, and keys made of them."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass, field
from typing import Any

from millstream.encryption.encryption import Parameters, hex_of
from millstream.encryption.library import KEY_BYTES
from millstream.errors import CannotDecrypt, UsageError

NAME = "pbkdf2-hmac-sha256"
# What OWASP asks of PBKDF2-HMAC-SHA256; a chunk says its own number, and may ask for no more work
# than the second.
ITERATIONS = 600_000
MAX_ITERATIONS = 10_000_000
SALT_BYTES = 16
MAX_SALT_BYTES = 64
# A dataset has a salt a job, so this is for one that was made to fill the memory.
MAX_KEYS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kdf:
    """How a key is made of a password: PBKDF2-HMAC-SHA256. By default with a fresh salt."""

    salt: bytes = field(default_factory=lambda: os.urandom(SALT_BYTES))
    iterations: int = ITERATIONS

    def to_json(self) -> Parameters:
        """As a chunk and a key file have it."""
        return {"name": NAME, "iterations": self.iterations, "salt": self.salt.hex()}

    @staticmethod
    def from_json(value: object) -> Kdf:
        """The inverse; raises CannotDecrypt for anything else, and for what takes too long."""
        if not isinstance(value, dict) or value.get("name") != NAME:
            raise CannotDecrypt(f"its key is not made of a password by {NAME}")
        count = value.get("iterations")
        if type(count) is not int or not 1 <= count <= MAX_ITERATIONS:
            raise CannotDecrypt(
                f"its key takes {count!r:.40} iterations of {NAME}; 1 to {MAX_ITERATIONS:,} are "
                "allowed"
            )
        return Kdf(salt=hex_of(value, "salt", most=MAX_SALT_BYTES), iterations=count)


class Password:
    """A password, and the keys that were made of it, each once. Neither shows."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text:
            raise UsageError(f"the password is a {type(text).__name__}, expected text, not empty")
        self._text = text
        self._keys: dict[Kdf, bytes] = {}
        self._lock = threading.Lock()

    def key(self, kdf: Kdf) -> bytes:
        """32 bytes."""
        with self._lock:
            if kdf not in self._keys:
                if len(self._keys) >= MAX_KEYS:
                    self._keys.clear()
                text = self._text.encode()
                made = hashlib.pbkdf2_hmac("sha256", text, kdf.salt, kdf.iterations, KEY_BYTES)
                self._keys[kdf] = made
            return self._keys[kdf]

    def __getstate__(self) -> dict[str, Any]:
        # With its keys: who has the password has them too, at the price of time.
        return {"_text": self._text, "_keys": dict(self._keys)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __repr__(self) -> str:
        return "Password(...)"
