"""One call of a store through each fault of a network: what is asked again, and what is said."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from servers.faultproxy import FaultProxy
from servers.faults import (
    Fault,
    Flip,
    LoseAnswer,
    Reset,
    Stall,
    Status,
    Truncate,
    clock_skew,
    expired_token,
    refusal,
    slow_down,
    too_many_requests,
)
from servers.seaweedfs import READER, SeaweedFS
from stores import Quick

from millstream.errors import (
    AccessDenied,
    CorruptData,
    ObjectNotFound,
    StorageError,
    StoreUnavailable,
)
from millstream.store import Retry, open_store

CONTENT = secrets.token_bytes(300_000)

PASSING: dict[str, tuple[Callable[..., Fault], dict[str, object]]] = {
    "500": (Status, {"code": 500}),
    "503": (slow_down, {}),
    "429": (too_many_requests, {"retry_after": 1}),
    "408": (refusal, {"code": 408, "name": "RequestTimeout"}),
    "reset at once": (Reset, {}),
    "reset in the body": (Reset, {"after": 100_000}),
    "a body cut short": (Truncate, {"after": 100_000}),
    "an empty body": (Truncate, {"after": 0}),
    "a stall before the answer": (Stall, {}),
    "a stall in the body": (Stall, {"after": 100_000}),
}
# Without the stall, which takes a writer two seconds.
BEFORE_THE_BODY = ["500", "503", "429", "408", "reset at once"]


@pytest.fixture
def there(faulty: Quick, s3_proxy: FaultProxy) -> Quick:
    """A store with an object `a`, and nothing counted yet."""
    faulty.store.put("a", CONTENT)
    s3_proxy.reset()
    return faulty


@pytest.mark.parametrize("name", PASSING)
def test_a_span_is_read_through_passing_faults(
    there: Quick, s3_proxy: FaultProxy, name: str
) -> None:
    make, arguments = PASSING[name]
    s3_proxy.do(make(**arguments, times=2))
    assert bytes(there.store.get("a", (1_000, 250_000))) == CONTENT[1_000:250_000]
    assert [request.range for request in s3_proxy.tally().log] == ["bytes=1000-249999"] * 3
    assert len(there.waits) == 2


@pytest.mark.parametrize("name", PASSING)
def test_a_whole_object_is_read_through_passing_faults(
    there: Quick, s3_proxy: FaultProxy, name: str
) -> None:
    make, arguments = PASSING[name]
    s3_proxy.do(make(**arguments, times=1))
    assert there.store.get("a") == CONTENT
    assert s3_proxy.tally().requests == 2


@pytest.mark.parametrize("name", BEFORE_THE_BODY)
def test_all_other_calls_come_through_too(there: Quick, s3_proxy: FaultProxy, name: str) -> None:
    make, arguments = PASSING[name]
    store = there.store
    calls: list[tuple[Callable[[], object], object]] = [
        (lambda: store.size("a"), len(CONTENT)),
        (lambda: store.put("b", b"content"), None),
        (lambda: store.put_if_absent("c", b"content"), True),
        (lambda: store.copy("a", "d"), None),
        (lambda: [info.key for info in store.list("")], ["a", "b", "c", "d"]),
        (lambda: list(store.folder("").folders), []),
        (lambda: store.delete("d"), None),
    ]
    for call, expected in calls:
        s3_proxy.reset()
        s3_proxy.do(make(**arguments, times=1))
        assert call() == expected
        assert s3_proxy.tally().requests >= 2
    s3_proxy.do()
    assert [info.key for info in store.list("")] == ["a", "b", "c"]


def test_waits_grow_and_are_bounded(there: Quick, s3_proxy: FaultProxy) -> None:
    s3_proxy.do(refusal(500, "InternalError"))
    with pytest.raises(StoreUnavailable) as error:
        there.store.get("a", (0, 10))
    retry = Retry()
    assert s3_proxy.tally().requests == retry.attempts == len(there.waits) + 1
    assert there.waits == [retry.wait(attempt, 0.5) for attempt in range(1, retry.attempts)]
    assert sum(there.waits) < retry.seconds
    said = str(error.value)
    assert str(there.store) in said
    for part in ("read a", "500", "InternalError", "16 times", "of at most 120 s"):
        assert part in said


def test_who_is_told_that_it_is_too_much_waits_a_second(there: Quick, s3_proxy: FaultProxy) -> None:
    s3_proxy.do(too_many_requests(retry_after=1, times=1))
    there.store.size("a")
    assert there.waits == [1.0]


def test_an_endpoint_that_is_down_for_20_seconds_is_ridden_out(
    there: Quick, s3_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    s3_proxy.down()

    def wait(seconds: float) -> bool:
        there.waits.append(seconds)
        if sum(there.waits) > 20:
            s3_proxy.up()
        return False

    there.store._retrier._wait = wait
    assert bytes(there.store.get("a", (5, 10))) == CONTENT[5:10]
    (record,) = caplog.records
    assert "no connection" in record.getMessage()
    assert "still trying, for up to 120 s" in record.getMessage()
    assert sum(there.waits[:-1]) <= 20 < sum(there.waits)
    assert s3_proxy.tally().requests == 1


def test_an_endpoint_that_stays_down_is_named(there: Quick, s3_proxy: FaultProxy) -> None:
    s3_proxy.down()
    with pytest.raises(StoreUnavailable) as error:
        there.store.get("a")
    assert f"127.0.0.1:{s3_proxy.port}" in str(error.value)
    assert "Connection refused" in str(error.value)
    assert isinstance(error.value, ConnectionError)
    assert 40 < sum(there.waits) <= 120


@pytest.mark.parametrize(
    ("fault", "kind", "parts"),
    [
        (clock_skew(), AccessDenied, ["clock", "RequestTimeTooSkewed"]),
        (expired_token(), AccessDenied, ["ExpiredToken", "aws_access_key_id"]),
        (refusal(403, "AccessDenied"), AccessDenied, ["403", "storage_options", "missing"]),
        (refusal(404, "NoSuchBucket"), StorageError, ["the bucket does not exist", "endpoint"]),
        (refusal(404, "NoSuchKey"), ObjectNotFound, ["no such object"]),
        (refusal(400, "AuthorizationHeaderMalformed"), StorageError, ["region_name"]),
        (Status(code=301), StorageError, ["region_name"]),
        (refusal(400, "InvalidRequest"), StorageError, ["InvalidRequest"]),
    ],
)
def test_what_will_not_pass_is_asked_once(
    there: Quick, s3_proxy: FaultProxy, fault: Fault, kind: type[Exception], parts: list[str]
) -> None:
    s3_proxy.do(fault)
    with pytest.raises(kind) as error:
        there.store.get("a", (0, 10))
    assert s3_proxy.tally().requests == 1
    assert there.waits == []
    for part in [str(there.store), "a", *parts]:
        assert part in str(error.value)


def test_a_missing_bucket_is_no_missing_object(s3_proxy: FaultProxy, seaweedfs: SeaweedFS) -> None:
    store = open_store("s3://no-such-bucket/x", seaweedfs.options(endpoint=s3_proxy.url))
    with pytest.raises(StorageError, match="the bucket does not exist") as error:
        store.get("a")
    assert not isinstance(error.value, FileNotFoundError)
    assert s3_proxy.tally().requests == 1


def test_who_may_only_read_is_told_so_at_once(
    there: Quick, s3_proxy: FaultProxy, seaweedfs: SeaweedFS
) -> None:
    reader = open_store(str(there.store), seaweedfs.options(READER, endpoint=s3_proxy.url))
    assert reader.get("a") == CONTENT
    s3_proxy.reset()
    with pytest.raises(PermissionError, match="cannot write b"):
        reader.put("b", b"content")
    assert s3_proxy.tally().requests == 1


def test_a_wrong_secret_is_told_at_once(seaweedfs: SeaweedFS, prefix: str) -> None:
    options = {**seaweedfs.options(), "aws_secret_access_key": "not-the-secret"}
    with pytest.raises(AccessDenied, match="SignatureDoesNotMatch") as error:
        open_store(f"s3://millstream/{prefix}", options).get("a")
    assert "not-the-secret" not in str(error.value)


def test_a_truncated_object_is_an_error(there: Quick, s3_proxy: FaultProxy) -> None:
    with pytest.raises(CorruptData, match="ends too early"):
        there.store.get("a", (299_000, 300_001))
    assert s3_proxy.tally().requests == 1
    with pytest.raises(CorruptData):
        there.store.get("a", (300_000, 300_001))
    assert s3_proxy.tally().requests == 2


def test_a_flipped_byte_is_for_checksums_to_find(there: Quick, s3_proxy: FaultProxy) -> None:
    s3_proxy.do(Flip(at=7))
    got = bytes(there.store.get("a", (0, 10)))
    assert [n for n in range(10) if got[n] != CONTENT[n]] == [7]


# Writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [LoseAnswer(method="PUT", times=1), Stall(method="PUT", times=1), Status(code=500, times=1)],
    ids=["lost", "stalled", "500"],
)
def test_a_put_of_unknown_outcome_is_done_again(
    faulty: Quick, s3_proxy: FaultProxy, fault: Fault
) -> None:
    s3_proxy.do(fault)
    faulty.store.put("a", b"content")
    assert faulty.store.get("a") == b"content"


def test_a_lost_answer_to_put_if_absent_is_settled_by_reading_back(
    faulty: Quick, s3_proxy: FaultProxy
) -> None:
    s3_proxy.do(LoseAnswer(method="PUT", times=1))
    assert faulty.store.put_if_absent("a", b"mine")
    assert [request.method for request in s3_proxy.tally().log] == ["PUT", "PUT", "GET"]


def test_who_lost_a_race_is_not_told_that_it_won(faulty: Quick, s3_proxy: FaultProxy) -> None:
    faulty.store.put("a", b"another's")
    s3_proxy.do(Reset(method="PUT", times=1))
    assert not faulty.store.put_if_absent("a", b"mine")
    assert faulty.store.get("a") == b"another's"


def test_equal_bytes_lose_too_if_every_answer_came(faulty: Quick, s3_proxy: FaultProxy) -> None:
    faulty.store.put("a", b"mine")
    s3_proxy.reset()
    assert not faulty.store.put_if_absent("a", b"mine")
    assert [request.method for request in s3_proxy.tally().log] == ["PUT"]


def test_a_conflict_that_may_pass_is_no_answer(faulty: Quick, s3_proxy: FaultProxy) -> None:
    s3_proxy.do(refusal(409, "ConditionalRequestConflict", times=1))
    assert faulty.store.put_if_absent("a", b"mine")


@pytest.mark.parametrize("name", BEFORE_THE_BODY)
def test_parts_of_a_large_file_are_sent_again(
    faulty: Quick, s3_proxy: FaultProxy, tmp_path: Path, name: str
) -> None:
    make, arguments = PASSING[name]
    (tmp_path / "file").write_bytes(content := secrets.token_bytes(40_000_000))
    s3_proxy.do(make(**arguments, times=1, method="PUT", path="partNumber=2"))
    faulty.store.put_file("a", tmp_path / "file")
    assert faulty.store.get("a") == content
    parts = [request.query for request in s3_proxy.tally().log if "partNumber" in request.query]
    assert len(parts) == 4  # of 16 MiB, one of them twice


def test_a_large_file_that_cannot_be_sent_leaves_no_parts(
    faulty: Quick, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(20_000_000))
    s3_proxy.do(refusal(403, "AccessDenied", method="PUT", path="partNumber=2"))
    with pytest.raises(AccessDenied, match="cannot write a"):
        faulty.store.put_file("a", tmp_path / "file")
    assert "DELETE" in [request.method for request in s3_proxy.tally().log]
    s3_proxy.do()
    assert list(faulty.store.list("")) == []


def test_a_page_of_a_listing_is_asked_again(
    faulty: Quick, s3_proxy: FaultProxy, seaweedfs: SeaweedFS
) -> None:
    faulty.store.put("a/b", b"")
    for fault in (slow_down(times=2), Truncate(after=50, times=1), Reset(times=1)):
        s3_proxy.do(fault)
        assert [info.key for info in faulty.store.list("a/")] == ["a/b"]
