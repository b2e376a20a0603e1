"""One dataset on every kind of server: the samples of the folder, each once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import uploaded
from servers.azure import Azurite
from servers.fixtures import HUB_TOKEN
from servers.gcs import GCS
from servers.http import HTTPServer
from servers.hub import Hub

import millstream as ms
from millstream import errors

Options = dict[str, object]


def on_hub(folder: Path, hub_root: Path, hub: Hub) -> tuple[str, Options]:
    shutil.copytree(folder, hub_root / "org" / "photos" / "v1", dirs_exist_ok=True)
    options: Options = {"endpoint": hub.url, "token": HUB_TOKEN}
    return "hf://datasets/org/photos/v1", options


@pytest.fixture(params=["s3", "gs", "azure", "http", "hf"])
def place(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Options]:
    """Where the dataset lies now, and the options for it."""
    get: Callable[[str], object] = request.getfixturevalue
    if request.param == "s3":
        return str(get("on_s3")), get("seaweedfs").options()  # type: ignore[attr-defined]
    if request.param == "hf":
        return on_hub(folder, get("hub_root"), get("hub"))  # type: ignore[arg-type]
    if request.param == "http":
        root, server = get("http_root"), get("http_server")
        assert isinstance(root, Path) and isinstance(server, HTTPServer)
        shutil.copytree(folder, root / "photos", dirs_exist_ok=True)
        return f"{server.url}/photos", {}
    server = get({"gs": "gcs", "azure": "azurite"}[request.param])
    assert isinstance(server, GCS | Azurite)
    url, options = f"{request.param}://millstream/photos", server.options()
    uploaded.upload(folder, url, options)
    return url, options


def test_a_stream_is_that_of_the_folder(
    place: tuple[str, Options], folder: Path, tmp_path: Path
) -> None:
    url, options = place
    local = ms.StreamingDataLoader(ms.StreamingDataset(folder, shuffle=True), batch_size=16)
    expected = [uploaded.check(local) for _ in range(2)]
    for workers in (0, 2):
        dataset = ms.StreamingDataset(
            url, storage_options=options, shuffle=True, cache_dir=tmp_path / str(workers)
        )
        loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
        for epoch in range(2):
            assert uploaded.check(loader) == expected[epoch]
            assert loader.coverage().exact
        stats = loader.stats()
        assert (stats.fetched_chunks, stats.fetched_bytes) == (20, uploaded.nbytes(dataset))
        assert dataset[17]["label"] == 17
    del loader, dataset


def test_a_dataset_in_memory_is_read_where_it_lies(folder: Path, tmp_path: Path) -> None:
    uploaded.upload(folder, "memory://photos", {})
    dataset = ms.StreamingDataset("memory://photos", shuffle=True, cache_dir=tmp_path / "cache")
    loader = ms.StreamingDataLoader(dataset, batch_size=16)
    near = ms.StreamingDataLoader(ms.StreamingDataset(folder, shuffle=True), batch_size=16)
    assert uploaded.check(loader) == uploaded.check(near)
    assert loader.coverage().exact
    assert not (tmp_path / "cache").exists()
    with pytest.raises(errors.NotPicklable, match="num_workers=0"):
        next(iter(ms.StreamingDataLoader(dataset, batch_size=16, num_workers=1)))
