"""Every error that millstream raises, in one tree, sorted by what the caller will do about it.

Each class is also the builtin that a Python user would catch in that situation, so
`except FileNotFoundError` or `except ValueError` work without knowing this module.
"""

from __future__ import annotations


class MillstreamError(Exception):
    """The root: everything raised on purpose by this library."""


# Change the call -----------------------------------------------------------------------------


class UsageError(MillstreamError, ValueError):
    """An argument, or a combination of arguments, makes no sense; nothing was done."""


class UnsupportedError(MillstreamError, NotImplementedError):
    """Valid, but beyond what this version of millstream, or this machine, can do."""


class RowOutOfRange(MillstreamError, IndexError):
    """A row index lies outside the dataset."""


# Change the data or the function -------------------------------------------------------------


class SampleError(MillstreamError, TypeError):
    """A sample cannot be stored, or does not look like the samples before it."""


class FunctionError(MillstreamError, RuntimeError):
    """The user's own function raised; the original traceback is part of the message."""


class NotPicklable(MillstreamError, TypeError):
    """Something that has to reach a worker process cannot be serialized."""


# Look at the place ---------------------------------------------------------------------------


class DatasetNotFound(MillstreamError, FileNotFoundError):
    """There is no finished dataset at the given place."""


class OutputNotEmpty(MillstreamError, FileExistsError):
    """The output folder holds something that this job did not write."""


class OutputBusy(MillstreamError, BlockingIOError):
    """Another process is writing to the same output."""


class JobUnfinished(MillstreamError, RuntimeError):
    """What a job is to publish is not all there yet; says which of its shards are to be run."""


class StorageError(MillstreamError, OSError):
    """Reading or writing failed for a reason outside the data: a full disk, a wrong bucket."""


class ObjectNotFound(StorageError, FileNotFoundError):
    """A store has no object under this key."""


class ObjectChanged(StorageError):
    """An object is no longer the one that was listed: it has other bytes."""


class AccessDenied(StorageError, PermissionError):
    """A store refuses these credentials, or there are none; says what to check."""


class StoreUnavailable(StorageError, ConnectionError):
    """A store could not be reached, or was too busy, for as long as it was tried."""


class ClusterUnavailable(MillstreamError, ConnectionError):
    """There is no cluster, or it has no room for a single worker; says what it has."""


# Repair or fetch again -----------------------------------------------------------------------


class CorruptData(MillstreamError, ValueError):
    """Bytes are not what their checksum, length or format says; names the chunk and the row."""


class CannotDecrypt(MillstreamError, ValueError):
    """The password or key that was passed, or none, does not open what is encrypted."""


# Start again ---------------------------------------------------------------------------------


class ForkedStore(MillstreamError, RuntimeError):
    """A store that goes over the network was used in a process forked from one that had used it."""


class WorkerDied(MillstreamError, RuntimeError):
    """A worker process ended without an answer: killed, out of memory, or crashed."""


class WorkerTimeout(MillstreamError, RuntimeError):
    """A batch took longer than the loader's `timeout`."""


class StateMismatch(MillstreamError, ValueError):
    """A saved state belongs to another dataset or another order; names the setting."""
