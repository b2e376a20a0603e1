"""What a store shows of itself, and what travels with it."""

from __future__ import annotations

import pickle
import traceback

import pytest
from servers.azure import Azurite
from servers.faultproxy import FaultProxy
from servers.faults import Status
from servers.gcs import GCS
from servers.seaweedfs import SeaweedFS

from millstream.store import Store, open_store


@pytest.fixture
def stores(
    seaweedfs: SeaweedFS, gcs: GCS, azurite: Azurite, prefix: str
) -> list[tuple[Store, list[str]]]:
    """Stores, and what nobody may see of each."""
    s3, google, azure = seaweedfs.options(), gcs.options(), azurite.options()
    signature = azurite.shared_access("millstream")
    account = f"{azure['endpoint']}?{signature}"
    return [
        (open_store(f"s3://millstream/{prefix}", s3), [s3["aws_secret_access_key"]]),
        (open_store(f"gs://millstream/{prefix}", google), [google["bearer_token"]]),
        (open_store(f"az://millstream/{prefix}", azure), [azure["account_key"]]),
        (open_store(f"az://millstream/{prefix}", {"account_url": account}), [signature]),
        (
            open_store(
                "http://user:pass-word@127.0.0.1:1/a?X-Sig=signature", {"retry_attempts": 1}
            ),
            ["pass-word", "signature"],
        ),
    ]


def test_no_text_shows_a_secret(stores: list[tuple[Store, list[str]]]) -> None:
    for store, hidden in stores:
        shown = [str(store), repr(store), f"{store!r:s}", repr(vars(store)["_remote"])]
        shown.append(repr(vars(store)["_settings"]))
        for ask in (lambda: store.get("missing"), lambda: store.size("missing")):  # noqa: B023
            with pytest.raises(OSError) as error:
                ask()
            shown += [repr(error.value), "".join(traceback.format_exception(error.value))]
        for secret in hidden:
            assert not any(secret in text for text in shown), secret


def test_an_answer_that_repeats_the_secret_does_not_pass_it_on(
    s3_proxy: FaultProxy, seaweedfs: SeaweedFS
) -> None:
    options = seaweedfs.options(endpoint=s3_proxy.url)
    secret = options["aws_secret_access_key"]
    body = f"<Error><Code>AccessDenied</Code><Message>not {secret}</Message><Key>{secret}</Key>"
    s3_proxy.do(Status(code=403, body=body))
    with pytest.raises(PermissionError) as error:
        open_store("s3://millstream", options).get("a")
    assert "not ***" in str(error.value)
    assert secret not in "".join(traceback.format_exception(error.value))


def test_a_pickled_store_has_its_options(
    stores: list[tuple[Store, list[str]]], prefix: str
) -> None:
    for number, (store, _) in enumerate(stores[:3]):
        store.put("a", b"%d" % number)  # so that it has a client, which is not pickled
        other = pickle.loads(pickle.dumps(store))
        assert (type(other), str(other)) == (type(store), str(store))
        assert other.get("a") == b"%d" % number


def test_a_pickled_store_has_nothing_of_the_environment(
    seaweedfs: SeaweedFS, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = seaweedfs.options()
    secret = options.pop("aws_secret_access_key")
    key = options.pop("aws_access_key_id")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    store = open_store(f"s3://millstream/{prefix}", options)
    store.put("a", b"content")
    pickled = pickle.dumps(store)
    assert secret.encode() not in pickled
    assert key.encode() not in pickled
    assert pickle.loads(pickled).get("a") == b"content"
