"""Inputs that are URLs: fn gets local files, fetched ahead and gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket
from hypothesis import given
from hypothesis import strategies as st
from servers.faultproxy import FaultProxy
from servers.faults import Reset, Truncate, slow_down
from servers.http import HTTPServer

import millstream as ms
from millstream import errors
from millstream.store import cloud
from millstream.writing import fetch, tasks
from millstream.writing.fetch import file_name
from millstream.writing.urls import as_url, options_for, short

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[HTTPServer]:
    """A web server that has the files 0.txt to 39.txt, and one with a blank in its name."""
    root = tmp_path / "web"
    (root / "deep").mkdir(parents=True)
    for n in range(40):
        (root / f"{n}.txt").write_text(f"content {n}")
    (root / "deep/a b.txt").write_text("blank")
    with HTTPServer(root) as server:
        yield server


def write(folder: Path, fn: Any, inputs: Any, **options: Any) -> Any:
    options = {"num_workers": 0, "verbose": False, **options}
    return ms.optimize(fn, inputs, folder, **options)


def read(path: str) -> dict[str, Any]:
    assert type(path) is str
    return {"name": Path(path).name, "text": Path(path).read_text()}


@pytest.mark.parametrize("workers", [0, 2])
def test_fn_gets_local_files_with_the_same_names(
    web: HTTPServer, tmp_path: Path, workers: int
) -> None:
    urls = [f"{web.url}/{n}.txt" for n in range(40)] + [f"{web.url}/deep/a%20b.txt?signed=x"]
    report = write(tmp_path / "d", read, urls, num_workers=workers)
    assert report.samples == 41
    expected = [{"name": f"{n}.txt", "text": f"content {n}"} for n in range(40)]
    expected.append({"name": "a b.txt", "text": "blank"})
    assert list(ms.StreamingDataset(tmp_path / "d")) == expected
    tally = web.tally()
    assert (tally.requests, dict(tally.by_status)) == (41, {200: 41})


def test_from_every_service(of_service: Callable[[str], Bucket], tmp_path: Path) -> None:
    for scheme in ("s3", "gs", "az"):
        bucket = of_service(scheme)
        bucket.store.put("a/one.txt", b"content of one")
        out, given = tmp_path / scheme, bucket.options
        write(out, read, [f"{bucket.url}/a/one.txt"], storage_options=given, num_workers=1)
        assert list(ms.StreamingDataset(out)) == [{"name": "one.txt", "text": "content of one"}]


def test_from_one_bucket_into_another(bucket: Bucket, scratch: Path) -> None:
    for n in range(5):
        bucket.store.put(f"raw/{n}.txt", b"%d" % n)
    inputs = [f"{bucket.url}/raw/{n}.txt" for n in range(5)]
    out = Bucket(f"{bucket.url}/out", bucket.options)
    ms.optimize(read, inputs, out.url, num_workers=2, verbose=False, storage_options=out.options)
    assert any(key.startswith("chunks/") for key in out.objects())
    assert list(scratch.iterdir()) == []


def test_they_are_fetched_ahead_within_bounds_and_gone_after_use(
    web: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_TASKS", 1)
    seen: list[int] = []

    def fn(path: str) -> str:
        folder = Path(path).parent.parent
        seen.append(len(list(folder.iterdir())))
        return folder.name

    write(tmp_path / "d", fn, [f"{web.url}/{n}.txt" for n in range(40)])
    assert max(seen) == 1 + fetch.AT_ONCE
    assert web.tally().max_in_flight <= fetch.AT_ONCE
    # With no room for what is ready there is still one at a time.
    monkeypatch.setattr(fetch, "READY_BYTES", 0)
    seen.clear()
    write(tmp_path / "e", fn, [f"{web.url}/{n}.txt" for n in range(40)])
    assert len(seen) == 40
    left = [path for path in tmp_path.rglob("*") if "inputs-" in path.name]
    assert left == []


def test_what_cannot_be_fetched_is_named_or_skipped(web: HTTPServer, tmp_path: Path) -> None:
    inputs = [f"{web.url}/1.txt", f"{web.url}/none.txt?key=secret", f"{web.url}/2.txt"]
    with pytest.raises(errors.ObjectNotFound) as caught:
        write(tmp_path / "d", read, inputs)
    said = str(caught.value)
    assert said.startswith(f"input 1 ('{web.url}/none.txt') cannot be fetched: {web.url}: cannot ")
    assert "secret" not in said
    report = write(tmp_path / "e", read, inputs, on_error="skip")
    assert report.samples == 2
    (skipped,) = report.skipped
    assert (skipped.input, skipped.kept) == (1, 0)
    assert skipped.error.startswith("ObjectNotFound: ")
    assert "secret" not in skipped.error


def test_secrets_of_a_url_are_not_said_when_fn_fails(web: HTTPServer, tmp_path: Path) -> None:
    def fn(path: str) -> int:
        return 1 // 0

    url = f"{web.url}/1.txt?signature=sig-1234".replace("http://", "http://user:pass-word@")
    with pytest.raises(errors.FunctionError) as caught:
        write(tmp_path / "d", fn, [url])
    with pytest.raises(errors.OutputNotEmpty) as other:
        write(tmp_path / "d", fn, [url + "2"])
    for error in (caught, other):
        assert f"{web.url}/1.txt" in str(error.value)
        assert not any(part in str(error.value) for part in ("sig-1234", "pass-word"))
    files = [path.read_bytes() for path in tmp_path.glob("d/**/*.json")]
    assert files
    assert not any(part in content for part in (b"sig-1234", b"pass-word") for content in files)


def test_other_text_stays_as_it_is(tmp_path: Path) -> None:
    inputs = [
        "a text", "", "ftp://host/a", "C://x", "https://host", "https://host/", "s3://bucket",
        "s3://bucket/folder/", "memory://x/y", "file:///etc/hostname", "see https://host/a",
        "https://host/a and more", ("https://127.0.0.1:1/a",), {"url": "s3://bucket/key"}, 7,
    ]  # fmt: skip
    seen = write(tmp_path / "d", lambda value: repr(value), inputs)
    assert seen.samples == len(inputs)
    assert list(ms.StreamingDataset(tmp_path / "d")) == list(map(repr, inputs))


def test_a_long_object_comes_through_a_bad_network(
    proxied: Bucket, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In little memory, and what has come already is not asked for again."""
    content = os.urandom(5_000_000)
    proxied.store.put("a.bin", content)
    proxy.reset()
    at = {"method": "GET", "path": "a.bin", "times": 1}
    proxy.do(slow_down(**at), Truncate(after=2_500_000, **at), Reset(after=1_200_000, **at))

    def fn(path: str) -> bool:
        return Path(path).read_bytes() == content

    url = f"{proxied.url}/a.bin"
    write(tmp_path / "d", fn, [url], storage_options=proxied.options)
    assert list(ms.StreamingDataset(tmp_path / "d")) == [True]
    asked = [request.range for request in proxy.tally().log]
    starts = [int(text.removeprefix("bytes=").rstrip("-")) if text else 0 for text in asked]
    assert len(starts) == 4
    assert starts[:2] == [0, 0]
    # What a reset leaves unread is lost.
    assert 2_000_000 < starts[2] <= 2_500_000
    assert starts[2] <= starts[3] <= 3_700_000


def test_only_an_object_that_does_not_move_is_given_up(
    proxied: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxied.store.put("a.bin", b"a" * 8_000_000)
    proxy.do(Truncate(after=1_200_000, method="GET", path="a.bin"))
    url, options = f"{proxied.url}/a.bin", {**proxied.options, "retry_attempts": 2}
    write(tmp_path / "d", lambda path: os.stat(path).st_size, [url], storage_options=options)  # noqa: PTH116
    assert list(ms.StreamingDataset(tmp_path / "d")) == [8_000_000]
    assert proxy.tally().faults["Truncate"] >= 4
    proxy.do(Truncate(after=0, method="GET", path="a.bin"))
    with pytest.raises(errors.StoreUnavailable, match="input 0"):
        write(tmp_path / "e", lambda path: 0, [url], storage_options=options)


def test_an_object_that_is_replaced_meanwhile_is_not_mixed(
    proxied: Bucket, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = b"a" * 4_000_000, b"b" * 4_000_000
    proxied.store.put("a.bin", old)
    proxy.do(Truncate(after=2_500_000, method="GET", path="a.bin", times=1))
    run = cloud.Download.go_on

    def replaced(self: cloud.Download, client: Any, key: str) -> None:
        run(self, client, key)
        if not self.finished:
            proxied.store.put("a.bin", new)

    monkeypatch.setattr(cloud.Download, "go_on", replaced)
    with (tmp_path / "file").open("wb"):
        proxied.store.get_file("a.bin", tmp_path / "file")  # type: ignore[attr-defined]
    assert (tmp_path / "file").read_bytes() == new


# What is decided without a request -------------------------------------------------------------


@given(st.text(), st.text())
def test_no_text_breaks_the_look_at_it(before: str, after: str) -> None:
    for text in (before, f"{before}://{after}", f"s3://{before}", f"https://{before}/{after}"):
        short(text)
        try:
            url = as_url(text)
        except errors.UsageError:
            continue
        assert url is None or url.key


@given(st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1))
def test_names_of_files_fit_and_keep_their_suffix(name: str) -> None:
    long = "x" * 300 + name + ".jpg"
    assert len(os.fsencode(file_name(long))) <= 255
    assert file_name(long).endswith(".jpg")
    assert file_name("a.jpg") == "a.jpg"


def test_options_go_to_one_service_and_to_nobody_else() -> None:
    mixed = ["s3://b/1", "https://host/2", "gs://b/3", 4]
    s3, web, gs = (url for url in map(as_url, mixed) if url is not None)
    to_output = options_for({"token": "t"}, "gs", mixed)
    assert [to_output.of(url) for url in (s3, web, gs)] == [None, None, {"token": "t"}]
    to_inputs = options_for({"token": "t"}, None, mixed[:2])
    assert [to_inputs.of(url) for url in (s3, web)] == [{"token": "t"}, None]
    assert options_for({"token": "t"}, None, mixed[1:2]).of(web) == {"token": "t"}
    assert options_for({"token": None}, None, [1, 2]).of(web) is None
    for inputs, said in ((mixed, "the inputs lie in gs, s3"), ([1, 2], "nothing here is in a")):
        with pytest.raises(errors.UsageError, match=said):
            options_for({"token": "t"}, None, inputs)
    assert "'t'" not in repr(to_inputs)
