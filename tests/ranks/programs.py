"""What each rank runs; `gang.py` starts this file. A function's result is printed as JSON.

Functions of other modules are named module:function.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ranked_data import named, numbers, opened
from torch.nn.parallel import DistributedDataParallel

import millstream as ms
from millstream.reading.reader import Reader

Loader = ms.StreamingDataLoader


def epochs(place: str, cases: list[dict[str, Any]]) -> list[list[Any]]:
    """Two epochs of each case: samples by step, and whether all ranks agree that it was exact."""
    found = []
    for options in cases:
        kind = options.pop("kind")
        loader = Loader(opened(place, kind), **options)
        of_case = []
        for _ in range(2):
            steps, padded = [], []
            for batch in loader:
                steps.append(numbers(batch, kind))
                padded.append(loader.padded)
            report = loader.coverage_of_all()
            of_case.append({
                "steps": steps, "padded": padded, "len": len(loader), "exact": report.exact,
                "count": report.delivered.count, "text": str(report),
            })  # fmt: skip
        found.append(of_case)
    return found


def trained(place: str, cases: list[dict[str, Any]]) -> list[Any]:
    """Steps of a real DistributedDataParallel model, whose backward waits for all ranks."""
    done = []
    for options in cases:
        joins = options.pop("join", False)
        model = DistributedDataParallel(torch.nn.Linear(1, 1))
        loader = Loader(opened(place), **options)
        if joins:
            with model.join():
                done.append(_train(model, loader))
        else:
            done.append(_train(model, loader))
    return done


def _train(model: Any, loader: Loader) -> int:
    steps = 0
    for batch in loader:
        loss = model(batch["id"].float()[:, None]).square()
        fresh = ~batch["again"] if "again" in batch else torch.ones(len(loss), dtype=torch.bool)
        loss[fresh].sum().backward()
        steps += 1
    return steps


def made_early(place: str, meet: str) -> dict[str, Any]:
    """A loader from before init_process_group, which `main` leaves to this."""
    hidden = {name: os.environ.pop(name) for name in ("RANK", "WORLD_SIZE")}
    dataset = opened(place, drop_last=False)
    early, begun = Loader(dataset, batch_size=8), Loader(dataset, batch_size=8)
    given = Loader(dataset, batch_size=8, rank=0, ranks=1)
    before = len(early)
    next(iter(begun))
    os.environ.update(hidden)
    initialize(meet)
    try:
        iter(begun)
        refused = ""
    except ms.errors.UsageError as error:
        refused = str(error)
    return {
        "before": before,
        "len": len(early),
        "seen": [i for batch in early for i in numbers(batch)],
        "exact": early.coverage_of_all().exact,
        "refused": refused,
        "given": len(given),
        "source": early._found.source,
    }


def disturbed(place: str) -> list[dict[str, Any]]:
    """Rank 1 leaves its last batch out; then its reader reads one batch's rows for another."""
    return [_disturbed(place, how) for how in ("dropped", "doubled")]


def _disturbed(place: str, how: str) -> dict[str, Any]:
    rank = dist.get_rank()
    loader = Loader(opened(place), batch_size=5)
    runs_of, calls = Reader._runs, [0]

    def doubled(self: Any, rows: Any, fields: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            calls.append(rows)
        return runs_of(self, calls[1] if calls[0] == 3 else rows, fields)

    if rank == 1 and how == "doubled":
        Reader._runs = doubled  # type: ignore[method-assign]
    batches = iter(loader)
    for _ in range(4 if rank == 1 and how == "dropped" else 5):
        next(batches)
    report = loader.coverage_of_all()
    return {"exact": report.exact, "text": str(report), "alone": loader.coverage().exact}


def resumed(place: str, cases: list[dict[str, Any]]) -> list[Any]:
    """Each case begins on some of these processes and goes on on others, from one state."""
    found = []
    for case in cases:
        first, state = _part(place, case["kind"], case["first"], None)
        states: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(states, state)
        rest, _ = _part(place, case["kind"], case["then"], states[0])
        found.append({"first": first, "rest": rest, "states": [s for s in states if s]})
    return found


def killed(place: str, kind: str, saves: str, workers: int) -> None:
    """Trains until the last rank is killed in the middle of a step; saves what a run would."""
    rank = dist.get_rank()
    loader = Loader(opened(place, kind), batch_size=4, num_workers=workers)
    steps = []
    for batch in loader:
        steps.append(numbers(batch, kind))
        if len(steps) == 6 and rank == dist.get_world_size() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()  # which a rank that is left alone does not pass
        saved = json.dumps({"steps": steps, "state": loader.state_dict()})
        Path(saves, f"rank-{rank}.json").write_text(saved)
        dist.barrier()


def went_on(place: str, kind: str, state: Any) -> dict[str, Any]:
    """What comes from a state on."""
    loader = Loader(opened(place, kind), batch_size=4, num_workers=1, drop_last=False)
    loader.load_state_dict(state)
    rest = [numbers(batch, kind) for batch in loader]
    return {"rest": rest, "exact": loader.coverage_of_all().exact}


def _part(
    place: str, kind: str, shape: dict[str, Any], state: Any
) -> tuple[list[list[Any]], Any | None]:
    """So many steps of a part of a run, or all; which only so many ranks take part in."""
    if dist.get_rank() >= shape["ranks"]:
        return [], None
    loader = Loader(
        opened(place, kind), batch_size=shape["batch"], num_workers=shape["workers"],
        rank=dist.get_rank(), ranks=shape["ranks"], drop_last=False,
    )  # fmt: skip
    if state is not None:
        loader.load_state_dict(state)
    steps = []
    for batch in loader:
        steps.append(numbers(batch, kind))
        if len(steps) == shape.get("steps"):
            break
    assert loader.coverage().exact
    return steps, loader.state_dict()


def under_torch(place: str, cases: list[dict[str, Any]]) -> list[list[Any]]:
    """Two epochs of each case under a plain DataLoader, whose workers are forked."""
    found = []
    for case in cases:
        kind, dataset = case["kind"], opened(place, case["kind"], drop_last=False)
        loader: Any = torch.utils.data.DataLoader(
            dataset, batch_size=None, num_workers=case["workers"]
        )
        of_case = []
        for epoch in range(2):
            dataset.set_epoch(epoch)
            of_case.append([named(sample, kind) for sample in loader])
        found.append(of_case)
    return found


def grouped(place: str) -> list[Any]:
    """Two replicas of two processes each, which share a rank."""
    replica = dist.get_rank() // 2
    loader = Loader(opened(place), batch_size=8, rank=replica, ranks=2, num_workers=replica)
    seen = [numbers(batch) for batch in loader]
    report = loader.coverage_of_all()
    return [seen, report.exact, report.delivered.count]


def initialize(meet: str) -> None:
    """Meets the other ranks at a file."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=ranks)


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = json.loads(sys.argv[1])
    module, _, name = given["program"].rpartition(":")
    if name == "made_early":
        given["arguments"]["meet"] = given["meet"]
    else:
        initialize(given["meet"])
    program = getattr(importlib.import_module(module), name) if module else globals()[name]
    result = program(**given["arguments"])
    dist.barrier()
    print("\n" + json.dumps(result), flush=True)
    dist.destroy_process_group()
