"""Where remote data lies, as each library wants to be told."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of an S3 server, and who may read it."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str

    def url(self, place: str) -> str:
        return f"s3://{self.name}/{place}"

    def options(self) -> dict[str, str]:
        """In the words of boto3."""
        return {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": self.region,
        }

    def obstore(self, place: str) -> object:
        """A store of the client that we use too."""
        from obstore.store import S3Store

        return S3Store(
            self.name, prefix=place, endpoint=self.endpoint, region=self.region,
            access_key_id=self.access_key, secret_access_key=self.secret_key,
            client_options={"allow_http": True, "timeout": "1 day"},
        )  # fmt: skip

    def set_environment(self) -> None:
        """For clients that only read variables."""
        os.environ.update(
            AWS_ACCESS_KEY_ID=self.access_key,
            AWS_SECRET_ACCESS_KEY=self.secret_key,
            AWS_DEFAULT_REGION=self.region,
            AWS_REGION=self.region,
            S3_ENDPOINT_URL=self.endpoint,
        )
