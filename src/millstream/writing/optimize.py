"""optimize(): the front door of writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from millstream.encryption import Encryption
from millstream.errors import SampleError, UsageError
from millstream.execution.machine import Machine
from millstream.format import Schema
from millstream.format.codecs import BlobCodec
from millstream.store import Store, open_store, service_of
from millstream.tokens import TokensLoader
from millstream.versions import Version, load_version
from millstream.writing.commit import build_manifest, mixed, shaping, unlike
from millstream.writing.cuts import Limits
from millstream.writing.dictionary import DictionaryTurn, known_dictionary
from millstream.writing.fetch import InputFetcher
from millstream.writing.filtering import Filtering
from millstream.writing.finish import VersionJob, finished
from millstream.writing.folder import JobFolder
from millstream.writing.gather import Room
from millstream.writing.identity import JobKey, Mode, check_mode, job_key
from millstream.writing.job import JobRun
from millstream.writing.knobs import (
    Numbering,
    Prepared,
    check_knobs,
    check_work,
    count_workers,
    executor_of,
    prepare,
)
from millstream.writing.limits import UNLIMITED, limits_of
from millstream.writing.placed import ChunkRecord
from millstream.writing.progress import ProgressBar
from millstream.writing.report import Report, told
from millstream.writing.segment import Skipped
from millstream.writing.settling import THREADS
from millstream.writing.urls import options_for
from millstream.writing.work import Work


def optimize(
    fn: Callable[[Any], Any],
    inputs: Sequence[Any] | Numbering,
    output_dir: str | os.PathLike[str],
    *,
    chunk_bytes: int | str | None = None,
    chunk_size: int | None = None,
    item_loader: TokensLoader | None = None,
    compression: str | None = None,
    mode: Mode | None = None,
    num_workers: int | None = None,
    weights: Sequence[float] | None = None,
    batch_size: int | None = None,
    fast_dev_run: bool | int = False,
    input_dir: str | os.PathLike[str] | None = None,
    reader: Callable[[Any], Any] | None = None,
    batched: bool = False,
    on_error: Literal["raise", "skip"] = "raise",
    allow_pickle: bool = False,
    serializers: Sequence[BlobCodec] | Mapping[str, BlobCodec] | None = None,
    encryption: Encryption | None = None,
    storage_options: Mapping[str, object] | None = None,
    take_over: bool = False,
    verbose: bool | None = None,
    num_nodes: int | None = None,
    machine: Machine | None = None,
    reorder_files: bool | None = None,
    num_downloaders: int | None = None,
    num_uploaders: int | None = None,
    start_method: str | None = None,
    use_checkpoint: bool | None = None,
    optimize_dns: bool | None = None,
) -> Report:
    """Turns `fn(input)` for every input into a dataset in `output_dir`.

    The same inputs give the same bytes for any number of workers, in the order of the inputs.
    A job that was stopped, by whatever, goes on when the same call is made again, and does only
    what is missing; a finished one reports. Another call for the same folder is refused, naming
    what differs: an input (a string or path that names a local file counts with that file's size
    and modification time), the code of fn, a value that fn closes over, is bound to, or has in
    the global variables of its module, or a setting below that shapes the bytes. Numbers, text,
    containers, arrays, dataclasses and argparse's namespaces count by what is in them; an object of
    any other class by the class alone, and a function of another module by its name.

    Args:
        fn: Returns a sample, or an iterator over any number of samples (a generator function
            will do), or None for no sample. A sample is a dict, list, tuple or namedtuple of
            values, nested as deep as you like, or a bare value. All samples have the same
            structure and types. A lambda or a closure will do; scripts need no main guard.
            Files can be values: `millstream.File(path)` holds the bytes of any file, `Jpeg` and
            `Image` those of an image; one that is among the inputs is copied straight into its
            chunk, and has to stay as it is until the dataset is written.
        inputs: Anything with a length and indices whose items pickle. For an item that is the URL
            of an object (`s3://`, `r2://`, `gs://`, `azure://`, `hf://`, `https://` and so on)
            fn gets the path of a local copy with the same name, which is fetched ahead and
            removed afterwards. Other text stays as it is, and so does a URL inside of a tuple or
            another container. Of a StreamingDataset fn gets the samples, of a StreamingDataLoader
            the batches of its first epoch. A URL counts by its text: what lies there is not looked
            at to tell whether the job is the same.
        output_dir: A new or empty folder, or that of an earlier run of this same job; or the URL
            of a prefix in a bucket (`s3://`, `r2://`, `gs://`, `azure://`). Chunks are uploaded
            while the work goes on; what is not yet in chunks lies in the system's temporary
            folder. A job whose machine is lost goes on elsewhere with what the bucket holds.
        chunk_bytes: The most bytes in a chunk, a number or text such as "64MB" (decimal) or
            "64MiB" (binary). A sample that alone is larger gets a chunk of its own. 64 MB by
            default.
        chunk_size: The most samples in a chunk; without chunk_bytes, just so many in each but
            the last. With a TokensLoader, the most tokens.
        item_loader: `TokensLoader()` if each sample is the tokens of a document, a 1-D array or
            tensor of integers. Documents are laid end to end, to be read in blocks of any size;
            one lies in one chunk, unless it is longer than a chunk may be.
        compression: "zstd", or "zstd:9" with another level than 3, up to 22. Rows are compressed
            alone, so that one is read without others, and columns of numbers in pages; with
            "zstd/frame" or "zstd/chunk" several rows, or all of a chunk, at once. What gets no
            smaller, as image files, is stored as it is. chunk_bytes counts bytes before it. See
            docs/compression.md.
        mode: What becomes of a dataset that is there: "append" makes a version with its rows
            and then the new ones, which must have the same structure and types; "overwrite" one
            with the new rows alone. Who reads the old version goes on, and nothing is deleted;
            see docs/versions.md. None: there must be none.
        num_workers: Processes that run fn; by default one a CPU; 0 runs it in this process.
        weights: What each input costs, in any unit: work is handed out in portions of like weight.
        batch_size: Gives fn lists of so many inputs (the last may be shorter).
        fast_dev_run: True for the first ten inputs alone, or how many.
        input_dir: A folder or URL that inputs which are relative paths are below.
        reader: Is called with an input; fn gets what it returns.
        batched: fn returns, or yields, many samples at once: the structure of a sample, with a
            column of values in place of each value. A column is an array or a tensor, with a
            value for each entry of its first axis, or a list of values; all have one length,
            which may be 0. The dataset is the same as if fn had yielded `column[i]` for each i,
            so a 1-D array holds numpy scalars, and its `tolist()` Python's numbers.
        on_error: What happens when fn raises: "raise" stops the job and names the input, "skip"
            goes on and lists the input in the report. Samples that an iterator yielded before
            it raised are kept.
        allow_pickle: Stores values of no other kind by pickle. Who reads them must allow it too.
        serializers: Codecs of your own, objects of subclasses of `BlobCodec`, for values of kinds
            that are not known here; they are asked first. Who reads the dataset passes the same.
        encryption: How rows are encrypted, by sample or by chunk: FernetEncryption,
            AESGCMEncryption, RSAEncryption, or a subclass of Encryption, all from
            `millstream.utilities.encryption`; see docs/encryption.md. chunk_bytes counts what
            rows take without it. The bytes of an encrypted dataset differ from job to job; its
            rows, their order and which chunks they are in do not.
        storage_options: Credentials and endpoint, see docs/stores.md: of the bucket, and of inputs
            that are URLs of the same service; with a local output_dir, of the service that the
            inputs lie in. They are written down nowhere.
        take_over: Goes on with a job in a bucket although another machine is noted as being at
            it. For when that one is known to be gone; a run that was killed on this machine is
            taken over without it. If it is not gone, work is done twice, and nothing else.
        verbose: True shows the progress bar and the report, False neither; by default the bar
            is shown on terminals only.
        num_nodes: How many machines work. More than this one is not there yet: UnsupportedError.
        machine: Without effect on one machine.
        reorder_files: Without effect: work goes to whichever worker is free, and the result has
            the order of the inputs.
        num_downloaders: Without effect: each worker fetches a few inputs ahead.
        num_uploaders: Without effect: workers upload side by side.
        start_method: Without effect: workers are started by exec.
        use_checkpoint: Without effect: a job that was stopped always goes on.
        optimize_dns: Without effect: names are resolved as the system does it.

    Returns:
        A report: samples, bytes, chunks, seconds, skipped inputs.

    Raises:
        UsageError: An argument makes no sense, or no input gave a sample.
        SampleError: A sample cannot be stored, or differs in structure or type.
        FunctionError: fn raised. Of several bad inputs, this and SampleError name the first.
        NotPicklable: fn or an input cannot be sent to a worker.
        OutputNotEmpty: output_dir holds something else, or another job, finished or not.
        CannotDecrypt: What is appended to, or the job that goes on, is encrypted otherwise.
        OutputBusy: Another process writes to output_dir, or another machine may be doing so.
        UnsupportedError: output_dir can only be read, or lets two writers win.
        WorkerDied: The same task killed three workers.
        StorageError: Writing failed, as on a full disk, or an input could not be fetched.
    """
    check_knobs(locals())
    prepared = prepare(
        fn,
        inputs,
        weights=weights,
        batch_size=batch_size,
        fast_dev_run=fast_dev_run,
        input_dir=input_dir,
        reader=reader,
        serializers=serializers,
    )
    _check(num_workers, on_error, mode, item_loader, batched)
    is_tokens = item_loader is not None
    filtering = Filtering.asked(compression, encryption, has_tokens=is_tokens)
    limits = limits_of(chunk_bytes, chunk_size, has_tokens=is_tokens)
    store = _writable(output_dir, storage_options)
    settings = {
        "chunk_bytes": limits.nbytes if limits.nbytes < UNLIMITED else None,
        "chunk_size": chunk_size,
        "on_error": on_error,
        "allow_pickle": allow_pickle,
        **({} if mode is None else {"mode": mode}),
        **({"item_loader": "tokens"} if is_tokens else {}),
        "batched": batched,
        **filtering.settings(),
        **prepared.settings(),
    }
    job = _Job(
        prepared=prepared,
        store=store,
        fetcher=InputFetcher(options_for(storage_options, service_of(output_dir), prepared.inputs)),
        take_over=take_over,
        key=job_key(prepared.fn, prepared.inputs, settings),
        limits=limits,
        filtering=filtering,
        workers=count_workers(num_workers),
        verbose=verbose,
    )
    return told(job.finished() or job.run(), verbose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """The arguments of optimize(), checked."""

    prepared: Prepared
    store: Store
    fetcher: InputFetcher
    take_over: bool
    key: JobKey
    limits: Limits
    filtering: Filtering
    workers: int
    verbose: bool | None

    def finished(self) -> Report | None:
        """The report of an earlier run that finished it, with the same key."""
        report = finished(self.store, self.key)
        if report is not None:
            self.filtering.check_version(self.store, load_version(self.store))
        return report

    def run(self) -> Report:
        """Does what is missing, publishes, and tidies up."""
        job = VersionJob.begin(self.store, self.key, self.workers)
        # Before any work: the first samples may take hours.
        if old := job.appends_to:
            if error := mixed(self.store, old, has_tokens=self._has_tokens):
                raise error
            self.filtering.check_version(self.store, old)
        with job.open(take_over=self.take_over, notes=self.filtering.notes) as folder:
            schema, chunks, skipped = self._work(folder, job.appends_to)
            if schema is None:
                folder.remove()
                count = len(self.prepared.inputs)
                raise UsageError(
                    f"none of the {count:,} inputs gave a sample: fn returned None, or an iterator "
                    "without items, for each; there is nothing to write"
                )
            made = build_manifest(schema, chunks, shaping(self.key.settings))
            return job.finish(folder, made, skipped)

    def _work(
        self, folder: JobFolder, old: Version | None
    ) -> tuple[Schema | None, list[ChunkRecord], tuple[Skipped, ...]]:
        """Does what is missing: the schema (None without rows), the chunks, what was skipped."""
        packing, sealing = self.filtering.packing, self.filtering.sealing(folder.notes)
        work = Work(
            fn=self.prepared.fn,
            chunks=folder.chunks,
            fetcher=self.fetcher,
            temporary=folder.scratch.temporary,
            skip_errors=self.key.settings["on_error"] == "skip",
            allow_pickle=self.key.settings["allow_pickle"],
            serializers=self.prepared.serializers,
            tokens=self.limits if self._has_tokens else None,
            batched=self.key.settings["batched"],
            room=Room(),
            packing=packing if sealing is None else sealing.packing(packing),
            sealing=sealing,
        )
        recorded = folder.placed()
        # In a chunk that is encrypted it cannot be seen, and there it need not be the same.
        known = known_dictionary(self.store, packing, recorded if sealing is None else {})
        digest = self.key.digest()
        with ProgressBar(len(self.prepared.inputs), show=self.verbose) as bar:
            run = JobRun(
                folder,
                self.prepared.inputs,
                self.limits,
                weights=self.prepared.weights,
                digest=digest,
                recorded=recorded,
                progress=bar,
                unlike=partial(self._unlike, old),
                threads=THREADS if self.workers else 0,
                cipher=None if sealing is None else sealing.segments,
                dictionary=DictionaryTurn(packing, known),
            )
            schema, chunks = run.run(executor_of(self.workers), work)
        return schema, chunks, run.skipped()

    @property
    def _has_tokens(self) -> bool:
        return "item_loader" in self.key.settings

    def _unlike(self, old: Version | None, schema: Schema) -> SampleError | None:
        if old is None:
            return None
        return unlike(self.store, old, schema, has_tokens=self._has_tokens)


def _writable(
    output_dir: str | os.PathLike[str], storage_options: Mapping[str, object] | None
) -> Store:
    """The output; before any work, what can only be read says so here."""
    store = open_store(output_dir, storage_options if service_of(output_dir) else None)
    store.check_conditional_put()
    return store


def _check(
    num_workers: object, on_error: object, mode: object, item_loader: object, batched: object
) -> None:
    check_work(num_workers, on_error)
    check_mode(mode)
    if not isinstance(item_loader, TokensLoader | None):
        raise UsageError(
            f"item_loader is {item_loader!r:.60}, expected TokensLoader() for documents of tokens, "
            "or None for samples of any kind"
        )
    if type(batched) is not bool:
        raise UsageError(f"batched is {batched!r}, expected True or False")
    if batched and item_loader is not None:
        raise UsageError("batched is not for a TokensLoader: let fn yield one document at a time")
