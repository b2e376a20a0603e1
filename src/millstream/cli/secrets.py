"""Passwords and keys, which come from files: others see command lines."""

from __future__ import annotations

import argparse
from pathlib import Path

from millstream.encryption import AESGCMEncryption, Encryption, FernetEncryption, RSAEncryption
from millstream.errors import UsageError
from millstream.format import Manifest
from millstream.format.ciphers import cipher_spec
from millstream.format.keys import chunk_key
from millstream.store import Store
from millstream.writing.inventory import chunk_header


def add_key(parser: argparse.ArgumentParser, key_file: str) -> None:
    """Where what opens a dataset is. key_file: what that one holds."""
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help="the first line of it is the password; never on the command line, which others see",
    )
    parser.add_argument("--key-file", metavar="FILE", help=key_file)


def add_encryption(parser: argparse.ArgumentParser) -> None:
    """How a dataset is encrypted."""
    parser.add_argument(
        "--encryption",
        choices=["fernet", "aes-gcm", "rsa"],
        help="encrypt rows, with --password-file or, for rsa, --key-file: see docs/encryption.md",
    )
    parser.add_argument(
        "--encryption-level",
        choices=["sample", "chunk"],
        default="sample",
        help="encrypt row by row (the default), or all rows of a chunk at once",
    )
    add_key(parser, "the public key of rsa, as PEM")


def encryption_asked(args: argparse.Namespace) -> Encryption | None:
    """What `optimize` was asked for; raises UsageError."""
    level = args.encryption_level
    if args.encryption is None:
        if args.password_file or args.key_file:
            raise UsageError("--password-file and --key-file need --encryption, to say for what")
        return None
    if args.encryption == "rsa":
        if args.key_file is None:
            raise UsageError("--encryption rsa needs --key-file, the public key as PEM")
        return RSAEncryption.load_public_key(args.key_file, level=level)
    if (password := _password(args)) is None:
        raise UsageError(f"--encryption {args.encryption} needs --password-file")
    make = FernetEncryption if args.encryption == "fernet" else AESGCMEncryption
    return make(password, level)


def encryption_of(args: argparse.Namespace, store: Store, manifest: Manifest) -> Encryption | None:
    """What opens a dataset, by the kind that its first chunk says; None if nothing was given."""
    if not (args.password_file or args.key_file) or not len(manifest.chunks):
        return None
    table = manifest.chunks
    header = chunk_header(store, chunk_key(table.name(0)), int(table.sizes[0]))
    spec, password = cipher_spec(header.layout.filters), _password(args)
    kind = None if spec is None else spec["name"]
    if kind == "rsa":
        if args.key_file is None:
            raise UsageError("this dataset is encrypted with rsa: pass --key-file, the private key")
        return RSAEncryption.load_private_key(args.key_file, password)
    if kind == "custom":
        raise UsageError("this dataset is encrypted by a class of its author's: read it in Python")
    if password is None:
        raise UsageError(f"this dataset is encrypted with {kind}: pass --password-file")
    if kind == "aes-gcm":
        if args.key_file is not None:
            return AESGCMEncryption.load(args.key_file, password)
        return AESGCMEncryption(password)
    return FernetEncryption(password)


def _password(args: argparse.Namespace) -> str | None:
    if args.password_file is None:
        return None
    lines = Path(args.password_file).read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0]:
        raise UsageError(f"{args.password_file} has no password in its first line")
    return lines[0]
