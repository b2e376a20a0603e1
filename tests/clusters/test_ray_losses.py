"""Jobs on a real Ray cluster whose machines are lost, or whose driver is: nothing is lost with
them, and no more is done again than what was under way there."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock

import pytest
from buckets import Bucket
from clusters.gated import (
    GATES,
    INPUTS,
    WEIGHTS,
    again,
    files_of,
    held,
    make_gates,
    sample,
    wait_for_ends,
)
from datasets import everything
from ray_cluster import RayCluster
from scripts import start

import millstream as ms
from millstream.writing import map_job

pytestmark = pytest.mark.timeout(200)

JOBS: dict[str, tuple[Callable[..., Any], Any, dict[str, Any]]] = {
    "optimize": (ms.optimize, sample, {"chunk_bytes": "3KB"}),
    "map": (ms.map, files_of, {}),
}


def run(job: str, control: Path, place: object, **options: Any) -> Any:
    call, fn, own = JOBS[job]
    given = {"weights": WEIGHTS, "verbose": False, **own, **options}
    with mock.patch.object(map_job, "TASKS", 20):  # so that a map has tasks of three inputs too
        return call(partial(fn, str(control)), INPUTS, str(place), **given)


def made(found: dict[str, bytes]) -> dict[str, bytes]:
    """What a job has made, without what it notes of itself."""
    return {name: some for name, some in found.items() if not name.startswith((".map-", "runs/"))}


@pytest.fixture(params=["folder", "bucket"])
def place(request: Any, tmp_path: Path) -> Any:
    """Where a job writes, its options, and what lies there."""
    if request.param == "folder":
        return tmp_path / "out", {}, lambda: everything(tmp_path / "out")
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.url, {"storage_options": bucket.options}, bucket.objects


@pytest.fixture
def control(tmp_path: Path) -> Path:
    folder = tmp_path / "control"
    folder.mkdir()
    return folder


def of_one_process(job: str, control: Path, tmp_path: Path) -> dict[str, bytes]:
    """What an undisturbed job makes."""
    run(job, control, tmp_path / "here", num_workers=0)
    (control / "calls").unlink()
    return made(everything(tmp_path / "here"))


def under_way(job: str, numbers: list[int]) -> list[int]:
    """The inputs that are run again when the workers at these gates are lost.

    Of a map what an input wrote is kept at once, of a dataset when its task has ended.
    """
    before = 0 if job == "map" else 2
    return [i for number in numbers for i in range(GATES[number] - before, GATES[number] + 1)]


@pytest.mark.parametrize("job", JOBS)
def test_a_machine_that_is_killed_costs_what_was_under_way_on_it(
    far: ms.RayExecutor, cluster: RayCluster, place: Any, control: Path, tmp_path: Path, job: str
) -> None:
    out, options, found = place
    expected = of_one_process(job, control, tmp_path)
    gates, lost = make_gates(control), []

    def kill() -> None:
        with held(gates) as opened:
            cluster.kill(cluster.nodes.pop())
            lost.extend(wait_for_ends(opened, 1))

    killer = Thread(target=kill, daemon=True)
    killer.start()
    run(job, control, out, executor=far, **options)
    killer.join()
    cluster.nodes.append(cluster.add())
    assert len(lost) == 1
    assert made(found()) == expected
    assert again(control) == under_way(job, lost)


SCRIPT = """
    import json, signal, sys
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    from clusters.test_ray_losses import run
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job, control, place, options, address = sys.argv[2:]
    import millstream as ms
    far = ms.RayExecutor(address=address)
    run(job, Path(control), place, executor=far, **json.loads(options))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("job", JOBS)
def test_a_driver_that_ends_leaves_no_worker_and_the_same_call_goes_on(
    far: ms.RayExecutor,
    cluster: RayCluster,
    place: Any,
    control: Path,
    tmp_path: Path,
    job: str,
    sent: signal.Signals,
) -> None:
    out, options, found = place
    expected = of_one_process(job, control, tmp_path)
    tests = Path(__file__).parents[1]
    driver = start(SCRIPT, tests, job, control, out, json.dumps(options), cluster.address)
    with held(make_gates(control)) as opened:
        driver.send_signal(sent)
        _, said = driver.communicate()
        assert wait_for_ends(opened, 2) == [0, 1]
    assert ("KeyboardInterrupt" in said) == (sent == signal.SIGINT)
    run(job, control, out, executor=far, **options)
    assert made(found()) == expected
    assert again(control) == under_way(job, [0, 1])
