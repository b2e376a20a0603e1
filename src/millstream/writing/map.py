"""map(): a function over many inputs, whose files are kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from millstream.errors import UsageError
from millstream.execution.machine import Machine
from millstream.execution.protocol import Executor
from millstream.execution.ray import RayExecutor
from millstream.store import Store, open_store, service_of
from millstream.writing.fetch import InputFetcher
from millstream.writing.folder import JobFolder, job_place
from millstream.writing.holdings import refuse_dataset
from millstream.writing.identity import JobKey, job_key
from millstream.writing.knobs import (
    Numbering,
    Prepared,
    check_knobs,
    check_work,
    executor_of,
    prepare,
)
from millstream.writing.map_job import MapRun, map_tasks
from millstream.writing.map_work import NOTES, MapWork
from millstream.writing.progress import ProgressBar
from millstream.writing.report import MapReport, told
from millstream.writing.urls import options_for


def map(
    fn: Callable[[Any, str], Any],
    inputs: Sequence[Any] | Numbering,
    output_dir: str | os.PathLike[str],
    *,
    num_workers: int | None = None,
    weights: Sequence[float] | None = None,
    batch_size: int | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    mode: Literal["overwrite"] | None = None,
    fast_dev_run: bool | int = False,
    input_dir: str | os.PathLike[str] | None = None,
    reader: Callable[[Any], Any] | None = None,
    storage_options: Mapping[str, object] | None = None,
    take_over: bool = False,
    verbose: bool | None = None,
    num_nodes: int | None = None,
    machine: Machine | None = None,
    executor: RayExecutor | None = None,
    reorder_files: bool | None = None,
    num_downloaders: int | None = None,
    num_uploaders: int | None = None,
    start_method: str | None = None,
    use_checkpoint: bool | None = None,
    optimize_dns: bool | None = None,
) -> MapReport:
    """Calls `fn(input, output_dir)` for every input, and keeps the files that it writes.

    What fn gets as output_dir is an empty folder of this input's own on the local disk; when fn
    returns, its files go to the output, under the names that they have in there. A job that was
    stopped, by whatever, goes on when the same call is made again: inputs whose files are in
    their places are not run again, and no half-written file of another is left. Once all are there
    the call does nothing; an input whose file was removed since is run again, and so is one that
    had failed. What makes the same call is as in `optimize`.

    Args:
        fn: A function of an input and a folder. What it returns is ignored. A lambda or a closure
            will do; scripts need no main guard.
        inputs: As of `optimize`: URLs of objects are fetched ahead, and fn gets local paths. Of a
            StreamingDataset fn gets the samples, of a StreamingDataLoader the batches of its
            first epoch; workers read them.
        output_dir: A folder, or the URL of a prefix in a bucket, to which files are uploaded while
            the work goes on. Files that are there stay; fn must not write to their names. Notes
            of the job are kept there in a hidden folder, `.map-<digest>`.
        num_workers: Processes that run fn; by default one a CPU; 0 runs it in this process. With
            num_nodes, on each machine.
        weights: What each input costs, in any unit. Inputs are handed out in portions of like
            weight, the heaviest first.
        batch_size: Gives fn lists of so many inputs (the last may be shorter).
        on_error: What happens when fn raises: "raise" ends the job, once the inputs under way are
            done, and names the input; "skip" goes on and lists it in the report.
        mode: "overwrite" lets fn replace files that were there before.
        fast_dev_run: True for the first ten inputs alone, or how many.
        input_dir: A folder or URL that inputs which are relative paths are below.
        reader: Is called with an input; fn gets what it returns.
        storage_options: Credentials and endpoint, see docs/stores.md: of the bucket, and of inputs
            that are URLs of the same service; with a local output_dir, of the service that the
            inputs lie in. They are written down nowhere.
        take_over: Goes on with a job in a bucket although another machine is noted as being at
            it, as of `optimize`.
        verbose: True shows the progress bar and the report, False neither; by default the bar
            is shown on terminals only.
        num_nodes: How many machines of a Ray cluster work, as of `optimize`.
        machine: What each of these machines has to have.
        executor: `RayExecutor(address=...)` for a cluster that is not this machine's own.
        reorder_files: Without effect: work goes to whichever worker is free, and the result has
            the order of the inputs.
        num_downloaders: Without effect: each worker fetches a few inputs ahead.
        num_uploaders: Without effect: workers upload side by side.
        start_method: Without effect: workers are started by exec.
        use_checkpoint: Without effect: a job that was stopped always goes on.
        optimize_dns: Without effect: names are resolved as the system does it.

    Returns:
        A report: inputs, files, bytes, seconds, skipped inputs.

    Raises:
        FunctionError: fn raised, or left a link in its folder.
        OutputNotEmpty: Two inputs write to one name, which names both; or a file of that name was
            there before; or the output is a dataset.
        UsageError, NotPicklable, OutputBusy, UnsupportedError, WorkerDied, StorageError: As of
            `optimize`.
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
    )
    _check(num_workers, on_error, mode)
    store = open_store(output_dir, storage_options if service_of(output_dir) else None)
    store.check_conditional_put()
    job = _Map(
        prepared=prepared,
        store=store,
        fetcher=InputFetcher(options_for(storage_options, service_of(output_dir), prepared.inputs)),
        key=job_key(prepared.fn, prepared.inputs, prepared.settings()),
        executor=executor_of(num_workers, num_nodes, machine, executor),
        skip_errors=on_error == "skip",
        overwrite=mode == "overwrite",
        take_over=take_over,
        verbose=verbose,
    )
    return told(job.run(), verbose)


def _check(num_workers: object, on_error: object, mode: object) -> None:
    check_work(num_workers, on_error)
    if mode not in (None, "overwrite"):
        raise UsageError(f'mode is {mode!r}, expected "overwrite" or None')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Map:
    """The arguments of map(), checked."""

    prepared: Prepared
    store: Store
    fetcher: InputFetcher
    key: JobKey
    executor: Executor
    skip_errors: bool
    overwrite: bool
    take_over: bool
    verbose: bool | None

    def run(self) -> MapReport:
        """Does what is missing."""
        began = time.monotonic()
        name = f"{NOTES}{self.key.digest().hex()[:16]}"
        place = job_place(self.store, name, take_over=self.take_over)
        inputs = self.prepared.inputs
        bar = ProgressBar(len(inputs), show=self.verbose, made="files")
        opened = JobFolder(place, self.key, refuse_dataset, apart=self.executor.apart)
        with opened as folder, bar:
            sizes = _sizes(folder.store)
            before = _before(folder.store, f"{name}/there", sizes)
            tasks = map_tasks(len(inputs), self.prepared.weights)
            run = MapRun(
                folder,
                inputs,
                tasks,
                there=frozenset() if self.overwrite else before,
                skip_errors=self.skip_errors,
                progress=bar,
            )
            run.resume(sizes, before, folder.records())
            run.run(self.executor, self._work(folder))
            folder.keep()
        return MapReport(
            place=str(self.store),
            inputs=len(inputs),
            files=run.files,
            bytes=run.nbytes,
            seconds=time.monotonic() - began,
            skipped=run.skipped(),
            already_done=not run.ran,
        )

    def _work(self, folder: JobFolder) -> MapWork:
        return MapWork(
            fn=self.prepared.fn,
            fetcher=self.fetcher,
            records=folder.chunks,
            files=folder.made,
            temporary=folder.temporary,
            skip_errors=self.skip_errors,
        )


def _sizes(store: Store) -> dict[str, int]:
    """The files of the output, but for the notes of maps."""
    return {info.key: info.size for info in store.list("") if not info.key.startswith(NOTES)}


def _before(store: Store, key: str, sizes: Mapping[str, int]) -> frozenset[str]:
    """The names that were there when the job began, which it writes down before it writes any."""
    try:
        return frozenset(json.loads(store.get(key)))
    except FileNotFoundError:
        store.put(key, json.dumps(sorted(sizes)).encode())
        return frozenset(sizes)
