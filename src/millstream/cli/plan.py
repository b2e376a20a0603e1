"""`plan`: who reads what when, what that costs, and the samples of any step."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millstream.cli import values
from millstream.cli.arguments import add_command, add_json, add_place, at_least_one, open_given
from millstream.cli.sample import leaves_of, open_stored
from millstream.cli.secrets import add_key
from millstream.cli.show import pairs, print_json, shorten, table
from millstream.errors import UsageError
from millstream.plan import When
from millstream.reading.dataset import StreamingDataset
from millstream.reading.explained import DatasetPlan
from millstream.reading.reader import Rows
from millstream.tokens import TokensLoader
from millstream.versions import load_version

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

PLAN = """\
Says how an epoch is divided among ranks and what it costs: steps, chunks, requests, bytes that are
needed at once. With --step it shows the samples that a step had, today or years ago: nothing is
replayed. With --row it says when a row comes.

The order depends on --shuffle, --seed, --lanes, --window, --subsample and --block-size. Give them
as the run had them; or give its state, as `state_dict()` gave it, in a file of JSON.
"""
PLAN_END = """\
Steps count from the beginning of the epoch. A run that went on in the middle with another global
batch counts from there: --start is the position of its state.

examples:
  millstream plan data/photos --shuffle --batch-size 64 --ranks 8
  millstream plan data/photos --state state.json --batch-size 64 --ranks 8 --step 1200 --rank 3
  millstream plan data/photos --shuffle --batch-size 64 --ranks 8 --epoch 2 --row 17

exit codes: 0 done; 1 the state is of other data, or a chunk is damaged; 2 there is no such step.
"""
SHOWN = 20
MOST = 110  # characters of a sample
NUMBERS = "POSITION RANK ROW"


def add_commands(commands: Commands) -> None:
    """Declares it."""
    plan = add_command(
        commands,
        "plan",
        _plan,
        summary="who reads what when, and the samples of any step",
        description=PLAN,
        epilog=PLAN_END,
    )
    add_place(plan, version=True)
    plan.add_argument(
        "--batch-size", type=at_least_one, default=1, metavar="N", help="samples a rank; 1"
    )
    plan.add_argument("--ranks", type=at_least_one, default=1, metavar="N", help="how many; 1")
    plan.add_argument("--rank", type=int, metavar="N", help="one of them, from 0; else all")
    plan.add_argument("--epoch", type=int, metavar="N", help="from 0; 0, or that of the state")
    plan.add_argument("--start", type=int, default=0, metavar="N", help="a position to start from")
    plan.add_argument("--drop-last", action=argparse.BooleanOptionalAction, help="as the loader's")
    plan.add_argument("--pad", action="store_true", help="as the loader's")
    _add_order(plan)
    plan.add_argument("--step", type=int, metavar="N", help="show the samples of a step, from 0")
    plan.add_argument("--row", type=int, metavar="N", help="say when a row comes, from 0")
    plan.add_argument(
        "--show", type=int, default=SHOWN, metavar="N", help=f"as many samples; {SHOWN}"
    )
    add_key(plan, "the private key of rsa, as PEM, or a key file that `save` wrote")
    add_json(plan)


def _add_order(plan: argparse.ArgumentParser) -> None:
    order = plan.add_argument_group("the order")
    order.add_argument("--state", metavar="FILE", help="a saved state, as JSON, for all of these")
    order.add_argument("--shuffle", action="store_true", help="shuffled")
    order.add_argument("--seed", type=int, default=42, metavar="N", help="42")
    order.add_argument("--subsample", type=float, default=1.0, metavar="X", help="the part; 1.0")
    order.add_argument("--lanes", type=at_least_one, metavar="N", help="strands of the order")
    order.add_argument("--window", type=at_least_one, metavar="N", help="shuffle_window, in rows")
    order.add_argument("--block-size", type=at_least_one, metavar="N", help="tokens of a block")


def _plan(args: argparse.Namespace) -> int:
    if args.rank is not None and not 0 <= args.rank < args.ranks:
        raise UsageError(f"--rank is {args.rank}, expected 0 to {args.ranks - 1}, below --ranks")
    state = None if args.state is None else _state(args.state)
    dataset = _open(args, state)
    plan = _divided(args, dataset, state)
    if args.row is not None:
        _print_places(args, plan.when(args.row))
    elif args.step is not None:
        order = vars(args) if state is None else state["order"]
        _print_step(args, plan, _Samples(args, order.get("block_size")))
    elif args.json:
        print_json(plan.explain(args.rank).to_json())
    else:
        print("\n".join(pairs(plan.explain(args.rank).facts())))
    return 0


def _state(name: str) -> Mapping[str, Any]:
    try:
        state = json.loads(Path(name).read_text())
    except ValueError as error:
        raise UsageError(f"{name} is no JSON: {error}") from None
    order = state.get("order") if isinstance(state, dict) else None
    if not isinstance(order, dict) or not {"seed", "shuffle", "window", "lanes"} <= order.keys():
        raise UsageError(f"{name} is not the state of a run over one dataset")
    return dict(state)


def _open(args: argparse.Namespace, state: Mapping[str, Any] | None) -> StreamingDataset:
    """The dataset with the order of a state, or else of the arguments."""
    order: Mapping[str, Any] = vars(args) if state is None else state["order"]
    block = order.get("block_size")
    store = open_given(args)
    return open_stored(
        args,
        store,
        load_version(store, args.version).manifest,
        version=args.version,
        item_loader=None if block is None else TokensLoader(block_size=block),
        shuffle=order["shuffle"],
        seed=order["seed"],
        subsample=args.subsample,
        lanes=order["lanes"],
        shuffle_window=order["window"],
    )


def _divided(
    args: argparse.Namespace, dataset: StreamingDataset, state: Mapping[str, Any] | None
) -> DatasetPlan:
    epoch = args.epoch
    if epoch is None:
        epoch = 0 if state is None else state["epoch"]
    if state is not None:
        dataset.batches(1).load_state_dict(state)  # raises what differs
    return dataset.plan(
        batch_size=args.batch_size,
        ranks=args.ranks,
        epoch=epoch,
        drop_last=args.drop_last,
        pad=args.pad,
        start=args.start,
    )


def _print_places(args: argparse.Namespace, places: list[When]) -> None:
    if args.json:
        found = [{"position": w.position, "step": w.step, "rank": w.rank} for w in places]
        print_json({"row": args.row, "places": found})
        return
    if not places:
        print(f"row {args.row:,} is not in this epoch, from there on")
    for when in places:
        step = "left out" if when.step is None else f"step {when.step:,}"
        print(f"row {args.row:,}: position {when.position:,}, {step}, rank {when.rank}")


def _print_step(args: argparse.Namespace, plan: DatasetPlan, samples: _Samples) -> None:
    ranks = range(plan.ranks) if args.rank is None else [args.rank]
    positions = np.sort(np.concatenate([plan.positions(args.step, rank) for rank in ranks]))
    rows = plan.epoch.rows(positions)
    if args.json:
        place = {"epoch": plan.epoch.number, "step": args.step, "ranks": plan.ranks}
        print_json({**place, "positions": positions.tolist(), "rows": rows.tolist()})
        return
    print(f"epoch {plan.epoch.number}, step {args.step:,}: {len(rows):,} samples\n")
    shown = max(args.show, 0)
    lines = [
        [f"{position:,}", f"{position % plan.ranks}", f"{row:,}", line]
        for position, row, line in zip(
            positions[:shown].tolist(), rows[:shown].tolist(), samples(rows[:shown]), strict=True
        )
    ]
    print("\n".join(table(["POSITION", "RANK", "ROW", "SAMPLE"], lines, right=NUMBERS)))
    if len(rows) > shown:
        print(f"... and {len(rows) - shown:,} more: --show {len(rows)}")


class _Samples:
    """Lines of rows, by their numbers in the version."""

    def __init__(self, args: argparse.Namespace, block_size: int | None) -> None:
        store = open_given(args)
        manifest = load_version(store, args.version).manifest
        loader = None if block_size is None else TokensLoader(block_size=block_size)
        self._schema = manifest.schema
        self._dataset = open_stored(args, store, manifest, version=args.version, item_loader=loader)
        self._are_blocks = block_size is not None

    def __call__(self, rows: Rows) -> list[str]:
        """One line of each row."""
        return [shorten(self._line(sample), MOST) for sample in self._dataset[rows.tolist()]]

    def _line(self, sample: Any) -> str:
        if self._are_blocks:
            return " ".join(map(str, np.asarray(sample).tolist()[: MOST // 2]))
        leaves = leaves_of(self._schema, sample, opens_pickles=False)
        return "  ".join(f"{leaf.field.name}: {values.line(leaf)}" for leaf in leaves)
