"""Local folders in which workers have files for as long as a task takes."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millstream.errors import UnsupportedError
from millstream.store.local import storage_errors
from millstream.writing.scratch import Scratch, lock_folder, own_folder


class Temporary(Protocol):
    """Gives folders of the local disk to workers."""

    def open(self) -> AbstractContextManager[Path]:
        """A folder to work in, within this block. What is in it may be removed after that."""


@dataclass(frozen=True, slots=True)
class RunTemporary:
    """One folder for all workers of a run, which removes it: they are on its machine."""

    folder: Path

    @contextmanager
    def open(self) -> Iterator[Path]:
        """The folder."""
        yield self.folder


@dataclass(frozen=True, slots=True)
class NodeTemporary:
    """A folder for each task, on the disk of whichever machine does it.

    shared: a folder of the job that all machines have to see, if its output is a folder.
    """

    shared: Path | None

    @contextmanager
    def open(self) -> Iterator[Path]:
        """A new folder; those of workers that were killed here are removed before.

        Raises UnsupportedError where the output is not a folder of all machines.
        """
        if self.shared is not None and not self.shared.is_dir():
            raise UnsupportedError(
                f"{self.shared} is not there on {socket.gethostname()}: a job on several machines "
                "needs an output that all of them see under the same path, a shared file system or "
                "a bucket"
            )
        parent = Path(tempfile.gettempdir()) / f"millstream-tasks-{os.getuid()}"
        with storage_errors(parent):
            scratch = _locked_folder(parent)
        try:
            _sweep(parent)
            yield scratch.root
        finally:
            shutil.rmtree(scratch.root, ignore_errors=True)
            scratch.close()
            with suppress(OSError):  # there are others in it
                parent.rmdir()


def _locked_folder(parent: Path) -> Scratch:
    """A new folder that this process has locked."""
    while True:
        # Another process may remove it before it is locked, or its parent before it is there.
        try:
            folder = own_folder(parent) / secrets.token_hex(8)
            folder.mkdir()
            if (scratch := lock_folder(folder)) is not None:
                return scratch
        except FileNotFoundError:
            if not parent.parent.is_dir():  # the system's folder for these
                raise


def _sweep(parent: Path) -> None:
    """Removes the folders that no process has locked any more."""
    for folder in parent.iterdir():
        with suppress(FileNotFoundError, NotADirectoryError):
            if (scratch := lock_folder(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                scratch.close()
