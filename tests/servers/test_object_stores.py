"""The object stores do what real ones do: refuse strangers, have one winner, list in pages."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from servers.azure import Azurite
from servers.gcs import GCS
from servers.process import call
from servers.seaweedfs import READER, SeaweedFS

BUCKET = "millstream"
REFUSED = (PermissionDeniedError, UnauthenticatedError)
HTTP = {"allow_http": True}
PAGE = 1000  # keys in a page of a listing, on all three


@pytest.fixture(params=["seaweedfs", "gcs", "azurite"])
def store(request: pytest.FixtureRequest, prefix: str) -> ObjectStore:
    """A client of each server, allowed everything, below a prefix of its own."""
    server = request.getfixturevalue(request.param)
    kind = {"seaweedfs": S3Store, "gcs": GCSStore, "azurite": AzureStore}[request.param]
    return kind(BUCKET, prefix=prefix, client_options=HTTP, **server.options())


def together(work: Callable[[int], object], count: int) -> list[object]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, range(count)))


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return sorted(found["path"] for found in obstore.list(store, prefix).collect())


def test_bytes_come_back_whole_and_in_part(store: ObjectStore) -> None:
    content = bytes(range(256)) * 40
    for key in ("plain", "in/a folder", "in/odd +é'=&?#%41"):
        obstore.put(store, key, content)
        assert obstore.get(store, key).bytes() == content
        assert obstore.get_range(store, key, start=250, end=600) == content[250:600]
        assert obstore.head(store, key)["size"] == len(content)
    # An empty prefix ends up with the store's own.
    assert keys(store) == ["in/a folder", "in/odd +é'=&?#%41", "plain"]


def test_a_large_object_goes_up_in_parts(store: ObjectStore) -> None:
    content = bytes(range(251)) * (11 * 1024 * 1024 // 251)
    obstore.put(store, "large", content, use_multipart=True, chunk_size=5 * 1024 * 1024)
    assert obstore.get(store, "large").bytes() == content


def test_of_eight_writers_one_creates(store: ObjectStore) -> None:
    for round in range(2):  # each may take SeaweedFS seconds

        def create(writer: int, key: str = f"version-{round}") -> int | None:
            try:
                obstore.put(store, key, f"by {writer}".encode(), mode="create")
            except AlreadyExistsError:
                return None
            return writer

        winners = [winner for winner in together(create, 8) if winner is not None]
        assert len(winners) == 1
        content = obstore.get(store, f"version-{round}").bytes()
        assert content == f"by {winners[0]}".encode()


def test_a_listing_goes_on_over_pages(store: ObjectStore) -> None:
    names = [f"many/{number:04}" for number in range(PAGE + 5)]
    together(lambda number: obstore.put(store, names[number], b""), len(names))
    obstore.put(store, "few/1", b"")
    assert keys(store, "many") == names
    found = obstore.list_with_delimiter(store)
    assert sorted(found["common_prefixes"]) == ["few", "many"]


def test_what_is_deleted_or_never_was_is_missing(store: ObjectStore) -> None:
    obstore.put(store, "a", b"1")
    obstore.copy(store, "a", "b")
    obstore.delete(store, "a")
    for key in ("a", "never"):
        with pytest.raises(FileNotFoundError):
            obstore.get(store, key)
    assert obstore.get(store, "b").bytes() == b"1"


def assert_refused(store: ObjectStore, *, reads: bool = False) -> None:
    """It may not write, nor, unless it reads, read or list."""
    with pytest.raises(REFUSED):
        obstore.put(store, "secret", b"changed")
    if reads:
        assert obstore.get(store, "secret").bytes() == b"original"
        assert keys(store) == ["secret"]
        return
    with pytest.raises(REFUSED):
        obstore.get(store, "secret")
    with pytest.raises(BaseError, match=r"40[13] "):  # obstore has no kind for a refused listing
        keys(store)


def test_s3_knows_its_users(seaweedfs: SeaweedFS, prefix: str) -> None:
    def client(**other: str) -> S3Store:
        options = {**seaweedfs.options(), **other}
        return S3Store(BUCKET, prefix=prefix, client_options=HTTP, **options)

    obstore.put(client(), "secret", b"original")
    assert_refused(client(aws_secret_access_key="wrong"))
    assert_refused(client(aws_access_key_id="nobody"))
    assert_refused(client(skip_signature="true"))
    assert_refused(client(**seaweedfs.options(READER)), reads=True)
    assert obstore.get(client(), "secret").bytes() == b"original"


def test_gcs_knows_its_token(gcs: GCS, prefix: str) -> None:
    def client(**other: str) -> GCSStore:
        return GCSStore(BUCKET, prefix=prefix, client_options=HTTP, **{**gcs.options(), **other})

    obstore.put(client(), "secret", b"original")
    assert_refused(client(bearer_token="wrong"))
    assert call(gcs.port, "GET", f"/{BUCKET}/{prefix}/secret")[0] == 401


def test_azure_knows_its_key_and_what_was_shared(azurite: Azurite, prefix: str) -> None:
    def client(**other: str) -> AzureStore:
        options = {"account_name": "millstream", "endpoint": azurite.endpoint, **other}
        return AzureStore(BUCKET, prefix=prefix, client_options=HTTP, **options)

    obstore.put(client(account_key=azurite.options()["account_key"]), "secret", b"original")
    assert_refused(client(account_key="d3Jvbmc="))
    assert_refused(client(sas_key=azurite.shared_access(BUCKET)), reads=True)
    unsigned, _, _ = azurite.shared_access(BUCKET).partition("sig=")
    assert_refused(client(sas_key=f"{unsigned}sig=AAAA%3D"))
    assert call(azurite.port, "GET", f"/millstream/{BUCKET}/{prefix}/secret")[0] in (403, 404)


def test_buckets_can_be_made_later(seaweedfs: SeaweedFS, gcs: GCS, azurite: Azurite) -> None:
    seaweedfs.make_bucket("another")
    gcs.make_bucket("another")
    azurite.make_container("another")
    for store in (
        S3Store("another", client_options=HTTP, **seaweedfs.options()),
        GCSStore("another", client_options=HTTP, **gcs.options()),
        AzureStore("another", client_options=HTTP, **azurite.options()),
    ):
        obstore.put(store, "a", b"1")
        assert keys(store) == ["a"]
    missing = S3Store("no-such-bucket", client_options=HTTP, **seaweedfs.options())
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        obstore.put(missing, "a", b"1")
