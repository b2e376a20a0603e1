"""The conformance suite on real servers."""

from __future__ import annotations

import pytest

from millstream.store import Store
from millstream.testing import StoreSuite


class TestS3(StoreSuite):
    @pytest.fixture(autouse=True)
    def _server(self, s3_store: Store) -> None:
        self._store = s3_store

    def make_store(self) -> Store:
        return self._store


class TestGCS(StoreSuite):
    many_objects = 300  # of pages that the server makes of any length

    @pytest.fixture(autouse=True)
    def _server(self, gcs_store: Store) -> None:
        self._store = gcs_store

    def make_store(self) -> Store:
        return self._store


class TestAzure(StoreSuite):
    many_objects = 100  # a page has 5,000, which this server takes a minute to make

    @pytest.fixture(autouse=True)
    def _server(self, azure_store: Store) -> None:
        self._store = azure_store

    def make_store(self) -> Store:
        return self._store
