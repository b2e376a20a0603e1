"""W9: a job is killed in the middle of an epoch; another process goes on from its state."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np

from trials.meter import Meter
from trials.trial import Trial

BATCH = 32


def interrupt(trial: Trial) -> dict[str, Any]:
    """Half an epoch; leaves the state and the ids that came. Who started this kills it then."""
    loader = trial.method(trial.place, BATCH, trial.workers)
    assert trial.state is not None
    seen: list[int] = []
    batches = iter(loader)
    while len(seen) < trial.scale.resumed // 2:
        seen += np.asarray(next(batches)["id"]).tolist()
    began = time.perf_counter()
    state = trial.driver.state(loader, batches)
    seconds = time.perf_counter() - began
    trial.state.write_bytes(pickle.dumps((state, seen)))
    return {
        "state_seconds": seconds,
        "state_bytes": len(pickle.dumps(state)),
        "consumed": len(seen),
    }


def go_on(trial: Trial) -> dict[str, Any]:
    """The rest of the epoch, and what was lost or came twice."""
    assert trial.state is not None
    if not trial.state.exists():
        raise FileNotFoundError("there is no state: the run before has failed")
    state, seen = pickle.loads(trial.state.read_bytes())
    with Meter() as meter:
        began = time.perf_counter()
        loader = trial.method(trial.place, BATCH, trial.workers)
        batches = iter(trial.driver.resume(loader, state))
        ids = np.asarray(next(batches)["id"]).tolist()
        next_batch = time.perf_counter() - began
        for batch in batches:
            ids += np.asarray(batch["id"]).tolist()
    every = {*seen, *ids}
    return {
        **meter.figures(len(ids)),
        "next_batch_seconds": next_batch,
        "lost": trial.scale.resumed - len(every),
        "doubled": len(seen) + len(ids) - len(every),
    }
