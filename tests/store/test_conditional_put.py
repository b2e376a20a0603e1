"""A server that ignores the condition of put_if_absent is found out before anybody publishes."""

from __future__ import annotations

from collections.abc import Callable

import obstore
import pytest
from servers.faultproxy import FaultProxy
from servers.faults import refusal
from servers.seaweedfs import SeaweedFS
from stores import Quick

from millstream.errors import UnsupportedError
from millstream.store import Store, open_store

STORES = ["s3_store", "gcs_store", "azure_store"]


@pytest.mark.parametrize("name", STORES)
def test_a_server_that_ignores_the_condition_is_refused(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Store = request.getfixturevalue(name)
    put: Callable[..., object] = obstore.put

    def ignoring(*arguments: object, mode: str = "", **options: object) -> object:
        return put(*arguments, **options)

    monkeypatch.setattr(obstore, "put", ignoring)
    with pytest.raises(UnsupportedError, match=r"If-None-Match.*both believe"):
        store.check_conditional_put()
    assert list(store.list("")) == []  # the probe is gone


def test_a_server_that_knows_no_conditions_is_refused(faulty: Quick, s3_proxy: FaultProxy) -> None:
    s3_proxy.do(refusal(501, "NotImplemented", method="PUT"))
    with pytest.raises(UnsupportedError, match="the server cannot do that"):
        faulty.store.check_conditional_put()
    assert len(faulty.waits) == 0


def test_it_is_asked_once(faulty: Quick, s3_proxy: FaultProxy) -> None:
    faulty.store.check_conditional_put()
    asked = s3_proxy.tally().requests
    assert asked == 3
    faulty.store.check_conditional_put()
    assert s3_proxy.tally().requests == asked


def test_a_store_opened_without_conditions_says_so(seaweedfs: SeaweedFS, prefix: str) -> None:
    options = {**seaweedfs.options(), "conditional_put": "disabled"}
    with pytest.raises(UnsupportedError):
        open_store(f"s3://millstream/{prefix}", options).check_conditional_put()
