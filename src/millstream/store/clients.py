"""Makes obstore's clients, each for one use."""

from __future__ import annotations

import base64
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, HTTPStore, ObjectStore, S3Store

from millstream.errors import UsageError
from millstream.store import environment
from millstream.store.messages import without_secrets
from millstream.store.options import Settings, client_options
from millstream.store.place import Remote
from millstream.store.retry import Retry

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config


class Use(Enum):
    """What a client is for.

    READ: a request that is answered soon. WRITE: one whose answer comes only when its body has
    been sent. MANY: calls of many requests, which the client has to try again by itself.
    """

    READ = "read"
    WRITE = "write"
    MANY = "many"


# How much longer than the longest silence of a download sending a body may take.
SLOW_SENDING = 4


Config = dict[str, object]


def make_client(remote: Remote, settings: Settings, use: Use) -> ObjectStore:
    """A client for one use; raises UsageError for options that the client refuses."""
    client = client_options(settings, settings.stall * (1 if use is Use.READ else SLOW_SENDING))
    retry = _retries(settings.retry) if use is Use.MANY else _NO_RETRIES
    try:
        if remote.service in {"http", "hf"}:
            return _web(remote, settings, client, retry)
        return _bucket(remote, dict(settings.config), client, retry)
    except (BaseError, ValueError, OSError) as error:
        if isinstance(error, UsageError):
            raise
        said = without_secrets(str(error).partition("\n")[0], settings)
    raise UsageError(f"{remote}: these storage_options do not fit together: {said}")


def _bucket(
    remote: Remote, config: Config, client: ClientConfig, retry: RetryConfig
) -> ObjectStore:
    name, prefix = remote.bucket, remote.prefix or None
    if remote.service == "gs":
        gcs = cast("GCSConfig", config)
        return GCSStore(name, prefix=prefix, config=gcs, client_options=client, retry_config=retry)
    if remote.service == "azure":
        azure = cast("AzureConfig", config)
        return AzureStore(
            name, prefix=prefix, config=azure, client_options=client, retry_config=retry
        )
    if environment.s3_endpoint().startswith("http://") and "endpoint" not in config:
        client.setdefault("allow_http", True)
    s3 = cast("S3Config", _s3_config(remote, config))
    return S3Store(name, prefix=prefix, config=s3, client_options=client, retry_config=retry)


def _s3_config(remote: Remote, config: Config) -> Config:
    """The options, with the keys and the region of a profile if these are to come from there."""
    profile = cast("str | None", config.pop("profile_name", None))
    given = any(name in config for name in ("access_key_id", "role_arn", "skip_signature"))
    if profile is not None or not (given or environment.s3_has_credentials()):
        config = {**environment.s3_profile(profile), **config}
    if remote.service == "r2" and not (config.get("endpoint") or environment.s3_endpoint()):
        raise UsageError(
            f"{remote} needs storage_options with account_id=, or with endpoint_url= "
            "(https://ACCOUNT.r2.cloudflarestorage.com)"
        )
    # One object is deleted by one plain request, which more servers understand than the bulk one.
    return {"disable_bulk_delete": True, **config}


def _web(
    remote: Remote, settings: Settings, client: ClientConfig, retry: RetryConfig
) -> ObjectStore:
    url, authorization = (
        _hub(remote, settings) if remote.service == "hf" else _http(remote, settings)
    )
    if authorization:
        client["default_headers"] = cast(
            "dict[str, str]",
            {"authorization": authorization, **client.get("default_headers", {})},
        )
    if url.startswith("http://"):
        client.setdefault("allow_http", True)
    return HTTPStore(url, client_options=client, retry_config=retry)


def _http(remote: Remote, settings: Settings) -> tuple[str, str]:
    scheme = remote.base.partition(":")[0]
    path = f"/{quote(remote.prefix)}" if remote.prefix else ""
    query = f"?{remote.query}" if remote.query else ""
    token = settings.config.get("bearer_token")
    login = "Basic " + base64.b64encode(remote.login.encode()).decode() if remote.login else ""
    return f"{scheme}://{remote.bucket}{path}{query}", f"Bearer {token}" if token else login


def _hub(remote: Remote, settings: Settings) -> tuple[str, str]:
    hub = hub_of(settings)
    repository, _, revision = remote.bucket.rpartition("@")
    path = f"/{quote(remote.prefix)}" if remote.prefix else ""
    url = f"{hub.endpoint}/datasets/{repository}/resolve/{quote(revision, safe='')}{path}"
    return url, f"Bearer {hub.token}" if hub.token else ""


def hub_of(settings: Settings) -> environment.Hub:
    """Where the hub is, and the token for it: as the options say, else as the environment does."""
    found = environment.hub()
    return environment.Hub(
        endpoint=str(settings.config.get("endpoint", found.endpoint)).rstrip("/"),
        token=str(settings.config.get("token", found.token)),
    )


_NO_RETRIES: RetryConfig = {"max_retries": 0}


def _retries(retry: Retry) -> RetryConfig:
    return {
        "max_retries": retry.attempts - 1,
        "retry_timeout": timedelta(seconds=retry.seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=retry.first_wait),
            "max_backoff": timedelta(seconds=retry.longest_wait),
            "base": 2,
        },
    }
