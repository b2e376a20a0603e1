"""optimize(): the front door of writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from millstream.encryption import Encryption
from millstream.errors import UsageError
from millstream.execution.machine import Machine
from millstream.execution.ray import RayExecutor
from millstream.format.codecs import BlobCodec
from millstream.store import Store, open_store, service_of
from millstream.tokens import TokensLoader
from millstream.writing.dataset_job import DatasetJob
from millstream.writing.fetch import InputFetcher
from millstream.writing.filtering import Filtering
from millstream.writing.identity import Mode, check_mode, job_key
from millstream.writing.knobs import (
    Numbering,
    check_knobs,
    check_work,
    executor_of,
    prepare,
)
from millstream.writing.limits import UNLIMITED, limits_of
from millstream.writing.report import Report, told
from millstream.writing.shards import parse_share
from millstream.writing.tasks import tasks
from millstream.writing.urls import options_for


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
    executor: RayExecutor | None = None,
    shard: str | None = None,
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
        num_workers: Processes that run fn; by default one a CPU; 0 runs it in this process. With
            num_nodes, on each machine.
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
        num_nodes: How many machines of a Ray cluster work; see docs/clusters.md. The dataset is
            the same. output_dir is then the URL of a bucket, or a folder that all of them share.
            1 or None: this machine, without Ray.
        machine: What each of these machines has to have.
        executor: `RayExecutor(address=...)` for a cluster that is not this machine's own.
        shard: "3/16" does shard 3, from 0, of 16 that share output_dir and know nothing of each
            other, as under SLURM or torchrun; `commit` then publishes. See docs/clusters.md.
        reorder_files: Without effect: work goes to whichever worker is free, and the result has
            the order of the inputs.
        num_downloaders: Without effect: each worker fetches a few inputs ahead.
        num_uploaders: Without effect: workers upload side by side.
        start_method: Without effect: workers are started by exec.
        use_checkpoint: Without effect: a job that was stopped always goes on.
        optimize_dns: Without effect: names are resolved as the system does it.

    Returns:
        A report: samples, bytes, chunks, seconds, skipped inputs. Of a shard: what that has made.

    Raises:
        UsageError: An argument makes no sense, or no input gave a sample.
        SampleError: A sample cannot be stored, or differs in structure or type.
        FunctionError: fn raised. Of several bad inputs, this and SampleError name the first.
        NotPicklable: fn or an input cannot be sent to a worker.
        OutputNotEmpty: output_dir holds something else, or another job, finished or not.
        CannotDecrypt: What is appended to, or the job that goes on, is encrypted otherwise.
        OutputBusy: Another process writes to output_dir, or another machine may be doing so.
        UnsupportedError: output_dir can only be read, or lets two writers win; or Ray is not
            there, or some of its machines do not share output_dir.
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
    job = DatasetJob(
        prepared=prepared,
        store=_writable(output_dir, storage_options),
        fetcher=InputFetcher(options_for(storage_options, service_of(output_dir), prepared.inputs)),
        take_over=take_over,
        key=job_key(prepared.fn, prepared.inputs, settings),
        tasks=list(tasks(len(prepared.inputs), prepared.weights)),
        limits=limits,
        filtering=filtering,
        executor=executor_of(num_workers, num_nodes, machine, executor),
        verbose=verbose,
        share=parse_share(shard),
    )
    return told(job.finished() or job.run(), verbose)


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
