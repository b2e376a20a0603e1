"""What is measured: the workloads, their figures, and how much of the data each form uses."""

from __future__ import annotations

from dataclasses import dataclass

WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much. images, tokens, small, resumed: samples of each kind. seconds: for each loader.

    indexes: the sizes of W8, in chunks. resume_with: the numbers of workers of W9.
    """

    name: str
    images: int
    tokens: int
    small: int
    resumed: int
    seconds: float
    lookups: int
    indexes: tuple[int, ...]
    resume_with: tuple[int, ...]
    repetitions: int


SCALES = {
    "quick": Scale(
        name="quick",
        images=2_000,
        tokens=20_000_000,
        small=100_000,
        resumed=6_400,
        seconds=2.0,
        lookups=500,
        indexes=(100_000,),
        resume_with=(4,),
        repetitions=1,
    ),
    "full": Scale(
        name="full",
        images=10_000,
        tokens=200_000_000,
        small=2_000_000,
        resumed=20_000,
        seconds=8.0,
        lookups=2_000,
        indexes=(100_000, 1_000_000),
        resume_with=(2, 4, 0),
        repetitions=5,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One process. run: the function in trials/. method: of the driver, which it is about."""

    run: str
    method: str
    workers: int = WORKERS
    chunks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One line of the table.

    kind: the data, a folder of each library. writes: whether that is made here. figure: what is
    compared, out of what the step finds, in `unit`. less_is_better: of times and bytes. goal: how
    many times better than the best of the others ours is to be. at_most: what ours may need.
    others: further figures that are told. remote: "bucket" if the data lies in a bucket; "proxy"
    if that is asked through a proxy that counts. before: what runs just before it, each time.
    """

    name: str
    title: str
    kind: str
    step: Step
    figure: str = "rate"
    unit: str = ""
    less_is_better: bool = False
    goal: float | None = None
    at_most: float | None = None
    others: tuple[str, ...] = ()
    writes: bool = False
    remote: str = ""
    before: Step | None = None


WRITTEN = ("cpu_us", "peak_mb", "bytes", "files")
STREAMED = ("cpu_us", "peak_mb", "first_batch_seconds", "later_rate")


def index_workload(chunks: int) -> Workload:
    """W8 for so many chunks."""
    return Workload(
        name=f"W8-{chunks}",
        title=f"open an index of {chunks:,} chunks",
        kind="images",
        step=Step(run="index:open_it", method="open_index", chunks=chunks),
        before=Step(run="index:make", method="make_index", chunks=chunks),
        figure="open_seconds",
        unit="s",
        less_is_better=True,
        at_most=0.05 if chunks <= 100_000 else 0.3,
        others=("extra_mb",),
    )


def resume_workload(workers: int) -> Workload:
    """W9 for a job of 2 workers that goes on with so many."""
    return Workload(
        name=f"W9-{workers}",
        title=f"resume at half an epoch, {WORKERS} -> {workers} workers: to the next batch",
        kind="resumed",
        step=Step(run="resume:go_on", method="resumable", workers=workers),
        before=Step(run="resume:interrupt", method="resumable"),
        figure="next_batch_seconds",
        unit="s",
        less_is_better=True,
        at_most=0.1,
        others=("lost", "doubled"),
    )


WORKLOADS = [
    Workload(
        name="W1",
        title="write JPEG files of 93 KB, 2 workers",
        kind="images",
        step=Step(run="writing:images", method="write_images"),
        unit="files/s",
        goal=1.5,
        others=WRITTEN,
        writes=True,
    ),
    Workload(
        name="W2",
        title="stream them shuffled, raw bytes, batch 64, 2 workers",
        kind="images",
        step=Step(run="streaming:images", method="images"),
        unit="images/s",
        goal=3.0,
        others=STREAMED,
    ),
    Workload(
        name="W3",
        title="decode, RandomResizedCrop(224), flip, batch 64, 2 workers",
        kind="images",
        step=Step(run="streaming:pixels", method="pixels"),
        unit="images/s",
        goal=1.7,
        others=STREAMED,
    ),
    Workload(
        name="W4-cold",
        title="stream raw bytes from S3, nothing cached, opening included",
        kind="images",
        step=Step(run="streaming:remote_cold", method="remote_images"),
        unit="images/s",
        goal=3.0,
        others=("cpu_us", "peak_mb", "open_seconds", "first_batch_seconds"),
        remote="bucket",
    ),
    Workload(
        name="W4-cached",
        title="the same from the cache, in a new process",
        kind="images",
        step=Step(run="streaming:remote_cached", method="remote_images"),
        before=Step(run="streaming:remote_cold", method="remote_images"),
        unit="images/s",
        goal=3.0,
        others=STREAMED,
        remote="bucket",
    ),
    Workload(
        name="W5w",
        title="write tokens, 2 workers",
        kind="tokens",
        step=Step(run="writing:tokens", method="write_tokens"),
        unit="tokens/s",
        goal=2.0,
        others=WRITTEN,
        writes=True,
    ),
    Workload(
        name="W5",
        title="blocks of 2049 tokens shuffled, batch 8, 2 workers",
        kind="tokens",
        step=Step(run="streaming:tokens", method="tokens"),
        unit="tokens/s",
        goal=10.0,
        others=STREAMED,
    ),
    Workload(
        name="W6w",
        title="write small dicts from a function of one, 2 workers",
        kind="small",
        step=Step(run="writing:small", method="write_small"),
        unit="samples/s",
        goal=1.0,
        others=WRITTEN,
        writes=True,
    ),
    Workload(
        name="W6w-columns",
        title="write the same from arrays of many rows, 2 workers",
        kind="columns",
        step=Step(run="writing:small_columns", method="write_small_columns"),
        unit="samples/s",
        others=WRITTEN,
        writes=True,
    ),
    Workload(
        name="W6",
        title="stream them shuffled, batch 256, 2 workers",
        kind="small",
        step=Step(run="streaming:small", method="small"),
        unit="samples/s",
        goal=20.0,
        others=STREAMED,
    ),
    Workload(
        name="W6-0",
        title="the same without workers",
        kind="small",
        step=Step(run="streaming:small", method="small", workers=0),
        unit="samples/s",
        goal=20.0,
        others=STREAMED,
    ),
    Workload(
        name="W7-images",
        title="dataset[i] at random, images of 93 KB, local",
        kind="images",
        step=Step(run="lookup:images", method="image_rows"),
        figure="mean_us",
        unit="us",
        less_is_better=True,
        at_most=25.0,
        others=("median_us", "p99_us"),
    ),
    Workload(
        name="W7-small",
        title="dataset[i] at random, small samples, local",
        kind="small",
        step=Step(run="lookup:small", method="small_rows"),
        figure="mean_us",
        unit="us",
        less_is_better=True,
        at_most=15.0,
        others=("median_us", "p99_us"),
    ),
    Workload(
        name="W7-remote",
        title="one image of a chunk of 64 MB in a bucket, nothing cached: bytes beyond its own",
        kind="images",
        step=Step(run="lookup:remote", method="remote_rows"),
        figure="extra_bytes",
        unit="bytes",
        less_is_better=True,
        at_most=65_536,
        others=("bytes_down", "requests", "open_seconds", "row_seconds"),
        remote="proxy",
    ),
    *(index_workload(chunks) for chunks in SCALES["full"].indexes),
    *(resume_workload(workers) for workers in SCALES["full"].resume_with),
]

# What makes the data of a kind, if a workload that reads it is asked for alone.
WRITERS = {one.kind: one.step for one in WORKLOADS if one.writes}
WRITERS["resumed"] = Step(run="writing:many_chunks", method="write_small")


def chosen(names: str, scale: Scale) -> list[Workload]:
    """Those whose names, or the parts before a hyphen, are listed; all of a form for ""."""
    wanted = {name for name in names.split(",") if name}
    known = {one.name for one in WORKLOADS} | {one.name.split("-")[0] for one in WORKLOADS}
    if wanted - known:
        raise SystemExit(f"no workload {wanted - known}; there are: {', '.join(sorted(known))}")
    if wanted:
        return [one for one in WORKLOADS if {one.name, one.name.split("-")[0]} & wanted]
    return [one for one in WORKLOADS if is_in(one, scale)]


def is_in(workload: Workload, scale: Scale) -> bool:
    """Whether a form has a workload."""
    if workload.kind == "resumed":
        return workload.step.workers in scale.resume_with
    return workload.step.chunks in (0, *scale.indexes)
