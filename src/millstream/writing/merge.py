"""merge_datasets(): several datasets made one, chunk by chunk, and none of it encoded again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millstream.errors import CorruptData, SampleError, UsageError
from millstream.format import ChunkTable, Manifest, common_schema, schema_difference
from millstream.store import Store, open_store, service_of
from millstream.versions import Version, load_version
from millstream.writing.commit import all_filters, shaping, unlike
from millstream.writing.copying import Copy, copy_chunks, make_copier
from millstream.writing.finish import VersionJob, finished
from millstream.writing.folder import JobFolder
from millstream.writing.function import FunctionKey
from millstream.writing.identity import JobKey, Mode, check_mode
from millstream.writing.inputs import inputs_key
from millstream.writing.placed import sizes_there
from millstream.writing.progress import ProgressBar
from millstream.writing.report import Report, told
from millstream.writing.urls import Options

Place = str | os.PathLike[str]


def merge_datasets(
    input_dirs: Sequence[Place],
    output_dir: Place,
    *,
    mode: Mode | None = None,
    storage_options: Mapping[str, object] | None = None,
    take_over: bool = False,
    verbose: bool | None = None,
) -> Report:
    """Makes one dataset of the newest versions of several, in the order in which they are given.

    Chunks are copied as they are: in a bucket by the server, on one file system by giving the
    file a further name, else through this machine, some at a time. A merge that was stopped goes
    on when the same call is made again; one that is finished reports.

    Args:
        input_dirs: Folders or URLs of datasets whose samples have the same structure and types.
        output_dir: A new or empty folder, or the URL of a prefix in a bucket.
        mode: As of `optimize`: "append" puts the rows behind those of a dataset that is there,
            "overwrite" makes a version with them alone.
        storage_options: Credentials and endpoint: of the bucket of the output, and of inputs of
            the same service; with a local output_dir, of the service that the inputs lie in.
        take_over: As of `optimize`.
        verbose: True shows the progress bar and the report, False neither; by default the bar
            is shown on terminals only.

    Returns:
        A report: samples, bytes and chunks of all inputs.

    Raises:
        SampleError: Two datasets differ in structure or types: names the field, both types and
            both places.
        DatasetNotFound, CorruptData: There is no dataset at an input, or it is damaged.
        OutputNotEmpty, OutputBusy, UnsupportedError, StorageError: As of `optimize`.
        UsageError: An argument makes no sense, such as an output that is an input too.
    """
    check_mode(mode)
    if isinstance(input_dirs, str | os.PathLike) or not len(input_dirs):
        raise UsageError(f"input_dirs is {input_dirs!r}, expected a list of folders or URLs")
    store = open_store(output_dir, storage_options if service_of(output_dir) else None)
    store.check_conditional_put()
    sources = [
        _Source.open(place, options)
        for place, options in zip(
            input_dirs, _options(storage_options, output_dir, input_dirs), strict=True
        )
    ]
    if any(str(source.store) == str(store) for source in sources):
        raise UsageError(
            f"{store} is the output and an input, so each call would give other rows; leave it out "
            'of input_dirs, and pass mode="append"'
        )
    _check_schemas(sources)
    key = _key(sources, mode)
    report = finished(store, key)
    if report is None:
        report = _merge(sources, output_dir, store, key, storage_options, take_over, verbose)
    return told(report, verbose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A dataset to be merged."""

    place: Place
    store: Store
    version: Version

    @staticmethod
    def open(place: Place, options: Options | None) -> _Source:
        store = open_store(place, options)
        return _Source(place=place, store=store, version=load_version(store))

    @property
    def manifest(self) -> Manifest:
        return self.version.manifest

    def __str__(self) -> str:
        return f"version {self.manifest.version} of {self.store}"


def _options(
    options: Options | None, output: Place, inputs: Sequence[Place]
) -> list[Options | None]:
    """For each input those that are meant for its service; raises UsageError if that is open."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    services = {service for place in inputs if (service := service_of(place)) is not None}
    target = service_of(output)
    if given and target is None and len(services) != 1:
        where = f"the inputs lie in {', '.join(sorted(services))}" if services else "none is there"
        raise UsageError(
            f"storage_options are for one service, and {where}; leave them out, or configure each "
            "cloud by its own files or variables"
        )
    service = target or next(iter(services), None)
    return [given if service_of(place) == service and service else None for place in inputs]


def _check_schemas(sources: Sequence[_Source]) -> None:
    first = sources[0]
    with_tokens = [source for source in sources if source.manifest.tokens is not None]
    without = [source for source in sources if source.manifest.tokens is None]
    if with_tokens and without:
        raise SampleError(
            f"{with_tokens[0]} holds documents of tokens, {without[0]} samples of another kind; "
            "merge datasets that were all written with item_loader=TokensLoader(), or all without"
        )
    for other in sources[1:]:
        found = schema_difference(first.manifest.schema, other.manifest.schema)
        if found is not None:
            raise SampleError(
                f"the field {found.name!r} is {found.got} in {other}, and {found.expected} in "
                f"{first}; datasets that are merged must have the same structure and types"
            )


def _key(sources: Sequence[_Source], mode: Mode | None) -> JobKey:
    """A merge is the same if it is of the same versions of the same places, in this order."""
    first, *others = [shaping(source.manifest.settings) for source in sources]
    shared = {
        name: value
        for name, value in first.items()
        if all((name, value) in some.items() for some in others)
    }
    return JobKey(
        inputs=inputs_key([f"{source}, {source.version.digest}" for source in sources]),
        function=FunctionKey(name="millstream.merge_datasets", parts={}),
        settings={**shared, **({} if mode is None else {"mode": mode})},
    )


def _merge(
    sources: Sequence[_Source],
    output_dir: Place,
    store: Store,
    key: JobKey,
    options: Options | None,
    take_over: bool,
    verbose: bool | None,
) -> Report:
    made = Manifest(
        version=1,
        schema=common_schema([source.manifest.schema for source in sources]),
        chunks=ChunkTable.joined([source.manifest.chunks for source in sources]),
        filters=all_filters([source.manifest for source in sources]),
        settings=shaping(key.settings),
    )
    job = VersionJob.begin(store, key, 0)
    has_tokens = made.tokens is not None
    if (old := job.appends_to) and (
        error := unlike(store, old, made.schema, has_tokens=has_tokens)
    ):
        raise error
    with job.open(take_over=take_over) as folder:
        _copy_missing(sources, made, output_dir, folder, options, verbose)
        return job.finish(folder, made)


def _copy_missing(
    sources: Sequence[_Source],
    made: Manifest,
    output_dir: Place,
    folder: JobFolder,
    options: Options | None,
    verbose: bool | None,
) -> None:
    """Copies what is not in its place; raises CorruptData if in the end something is not."""
    needed = _needed(sources)
    there = sizes_there(folder.store)
    copies = [one for one in needed.values() if there.get(one.digest) != one.size]
    copiers = [
        make_copier(source.place, source.store, output_dir, folder.store, folder.chunks, options)
        for source in sources
    ]
    with ProgressBar(len(needed), show=verbose, unit="chunks") as bar:
        done = [one for one in needed.values() if there.get(one.digest) == one.size]
        bar.advance(len(done), sum(one.rows for one in done), sum(one.size for one in done))
        copy_chunks(copies, copiers, lambda one: bar.advance(1, one.rows, one.size))
    there = sizes_there(folder.store)
    for one in needed.values():
        if there.get(one.digest) != one.size:
            raise CorruptData(
                f"{sources[one.source]}: the chunk {one.digest} has {there.get(one.digest)} bytes "
                f"where it was copied to, expected {one.size}; see `millstream verify "
                f"{sources[one.source].store}`"
            )


def _needed(sources: Sequence[_Source]) -> dict[str, Copy]:
    """Each chunk once, by its digest: datasets may share some."""
    needed: dict[str, Copy] = {}
    for number, source in enumerate(sources):
        table = source.manifest.chunks
        for chunk in range(len(table)):
            digest, size = table.name(chunk), int(table.sizes[chunk])
            one = Copy(source=number, digest=digest, size=size, rows=int(table.rows[chunk]))
            needed.setdefault(digest, one)
    return needed
