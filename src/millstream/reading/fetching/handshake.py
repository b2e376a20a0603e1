"""Two ends of a connection find out that both know a token, and neither says it.

A port may by now be another program's, of another user even: it must learn nothing that it could
use, neither the token nor what is asked for.
"""

from __future__ import annotations

import hmac
import secrets
import socket

TOKEN_BYTES = 32
# For an end that does not answer: it is not the one that was meant.
SECONDS = 10.0

Address = tuple[int, bytes]  # a port of this machine, and the token that is asked for there


def connect(address: Address) -> socket.socket | None:
    """A connection to who knows the token; None if nobody there does."""
    port, token = address
    try:
        connection = socket.create_connection(("127.0.0.1", port), SECONDS)
    except OSError:
        return None
    if _agrees(connection, token, b"asks", b"answers"):
        return connection
    connection.close()
    return None


def accept(connection: socket.socket, token: bytes) -> bool:
    """Whether who has connected knows the token."""
    return _agrees(connection, token, b"answers", b"asks")


def _agrees(connection: socket.socket, token: bytes, mine: bytes, other: bytes) -> bool:
    challenge = secrets.token_bytes(TOKEN_BYTES)
    try:
        connection.settimeout(SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(challenge)
        connection.sendall(_proof(token, mine, _read(connection)))
        agrees = hmac.compare_digest(_read(connection), _proof(token, other, challenge))
        connection.settimeout(None)
    except OSError:
        return False
    return agrees


def _proof(token: bytes, side: bytes, challenge: bytes) -> bytes:
    return hmac.digest(token, side + challenge, "sha256")


def _read(connection: socket.socket) -> bytes:
    got = b""
    while len(got) < TOKEN_BYTES and (piece := connection.recv(TOKEN_BYTES - len(got))):
        got += piece
    return got
