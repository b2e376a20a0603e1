"""The executor of a Ray cluster where there is no Ray, no cluster, or no sense in the arguments."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from scripts import start

from millstream.errors import UnsupportedError, UsageError
from millstream.execution.ray import RayExecutor, part

pytestmark = pytest.mark.timeout(120)


def test_arguments_are_checked() -> None:
    for wrong in ({"num_workers": 0}, {"num_nodes": -1}, {"wait_seconds": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            RayExecutor(**wrong)
    with pytest.raises(UnsupportedError, match="ray job submit"):
        RayExecutor(address="ray://head:10001")


def test_parts_of_a_machine_fit_it() -> None:
    for count in range(20):
        for workers in range(1, 40):
            share = part(count, workers)
            assert share * workers <= count + 1e-9
            assert share == int(share) or share < 1
            assert (share == 0) == (count == 0)


def test_without_ray_the_error_says_how_to_get_it() -> None:
    process = start("""
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name == "ray": raise ImportError("no ray here")
        sys.meta_path.insert(0, Nowhere())
        from millstream.execution.ray import RayExecutor
        from millstream.errors import UnsupportedError
        try:
            with RayExecutor().open(str): pass
        except UnsupportedError as error:
            print(error)
    """)
    out, err = process.communicate()
    assert 'pip install "millstream[ray]"' in out, err
    assert "leave num_nodes and executor out" in out


ALONE = """
    import functools, os, sys
    os.environ["RAY_TMPDIR"] = sys.argv[1]
    import ray._private.services as services
    services.find_gcs_addresses = functools.cache(set)
    from millstream.execution.ray import RayExecutor
    from millstream.errors import ClusterUnavailable
    try:
        with RayExecutor().open(str): pass
    except ClusterUnavailable as error:
        print(error)
"""


def test_without_a_cluster_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    """Ray finds a cluster by looking through all processes, and would find that of other tests."""
    process = start(ALONE, tmp_path)
    out, err = process.communicate()
    assert "no Ray cluster here" in out, err
    assert "ray start --head" in out, err
    assert "RAY_ADDRESS" not in out, "Ray's own advice, on its own options"
    assert "leave num_nodes and executor out" in out


def test_a_cluster_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    """Ray remembers where the last one was, and would try that for ten minutes."""
    (tmp_path / "ray").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        process = start(ALONE, tmp_path)
        out, err = process.communicate(timeout=60)
    assert "no Ray cluster here" in out, err
    assert "refused" in out, out


def test_where_no_cluster_listens_the_error_names_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = start("""
            import sys
            from millstream.execution.ray import RayExecutor
            from millstream.errors import ClusterUnavailable
            try:
                with RayExecutor(address=sys.argv[1]).open(str): pass
            except ClusterUnavailable as error:
                print(error)
        """, address)  # fmt: skip
        out, err = process.communicate()
    assert f"no Ray cluster at {address}" in out, err
