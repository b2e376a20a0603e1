"""storage_options: the names that people know for credentials and endpoints, mapped onto obstore's.

Names may be in upper case, as the environment variables are that they come from. A value of None
counts as not given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from millstream.errors import UsageError
from millstream.store.azure import azure_options
from millstream.store.retry import Retry

if TYPE_CHECKING:
    from obstore.store import ClientConfig

Options = Mapping[str, object]

# Names of obstore that have no other.
_S3_MORE = """
    checksum_algorithm conditional_put container_credentials_relative_uri
    container_credentials_full_uri container_authorization_token_file copy_if_not_exists
    disable_tagging disable_bulk_delete imdsv1_fallback metadata_endpoint request_payer role_arn
    role_session_name s3_express server_side_encryption sse_bucket_key_enabled
    sse_customer_key_base64 sse_kms_key_id unsigned_payload
    virtual_hosted_style_request web_identity_token_file
"""
_AZURE_MORE = """
    authority_host credential_type use_emulator use_fabric_endpoint encryption_key msi_endpoint
    object_id msi_resource_id federated_token_file use_azure_cli disable_tagging
    fabric_token_service_url fabric_workload_host fabric_session_token fabric_cluster_identifier
"""
_CLIENT_NAMES = """
    allow_http allow_invalid_certificates connect_timeout default_headers http1_only
    http2_keep_alive_interval http2_keep_alive_timeout http2_keep_alive_while_idle http2_only
    pool_idle_timeout pool_max_idle_per_host proxy_url proxy_ca_certificate proxy_excludes
    root_certificate randomize_addresses user_agent
"""

# obstore's name: the other names for it.
_S3 = {
    "access_key_id": ("aws_access_key_id",),
    "secret_access_key": ("aws_secret_access_key",),
    "session_token": ("aws_session_token", "aws_token", "token"),
    "endpoint": ("endpoint_url", "aws_endpoint_url", "aws_endpoint_url_s3", "aws_endpoint"),
    "region": ("region_name", "aws_region", "aws_default_region", "default_region"),
    "skip_signature": ("aws_skip_signature", "anonymous"),
    "profile_name": ("aws_profile",),  # ours: see environment.py
    **dict.fromkeys(
        _S3_MORE.split(),
        (),
    ),
}
_GCS = {
    "service_account": ("google_service_account", "service_account_path", "service_account_file"),
    "service_account_key": ("google_service_account_key", "service_account_info"),
    "application_credentials": ("google_application_credentials",),
    "bearer_token": ("google_bearer_token", "token"),
    "base_url": ("google_base_url", "endpoint", "endpoint_url", "api_endpoint"),
    "skip_signature": ("google_skip_signature", "anonymous"),
    "project": ("google_cloud_project", "project_id"),
}
_AZURE = {
    "account_name": ("azure_storage_account_name",),
    "account_key": ("azure_storage_account_key", "azure_storage_access_key", "access_key"),
    "account_url": ("azure_storage_account_url",),
    "credential": (),
    "connection_string": ("azure_storage_connection_string",),
    "sas_key": ("azure_storage_sas_key", "azure_storage_sas_token", "sas_token"),
    "client_id": ("azure_client_id", "azure_storage_client_id"),
    "client_secret": ("azure_client_secret", "azure_storage_client_secret"),
    "tenant_id": ("azure_tenant_id", "azure_storage_tenant_id"),
    "token": ("azure_storage_token",),
    "endpoint": ("azure_storage_endpoint", "azure_endpoint", "endpoint_url"),
    "skip_signature": ("azure_skip_signature", "anonymous"),
    **dict.fromkeys(
        _AZURE_MORE.split(),
        (),
    ),
}
_HTTP = {"bearer_token": ("token",)}
_HUB = {"token": ("hf_token",), "endpoint": ("hf_endpoint", "endpoint_url")}
_R2 = {**_S3, "account_id": ("cloudflare_account_id",)}

# Names for any service: obstore's options of the HTTP client, and ours.
_CLIENT = dict.fromkeys(
    _CLIENT_NAMES.split(),
    (),
)
_OURS: dict[str, tuple[str, ...]] = {"retry_attempts": (), "retry_seconds": (), "stall_seconds": ()}

_NAMES: dict[str, Mapping[str, tuple[str, ...]]] = {
    "s3": _S3,
    "r2": _R2,
    "gs": _GCS,
    "azure": _AZURE,
    "http": _HTTP,
    "hf": _HUB,
}
_SECRET = ("key", "secret", "token", "credential", "sas", "headers", "connection_string", "proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client is made with. config: obstore's names of the service; client: of its HTTP.

    stall: the longest time in seconds without a byte, after which a request is tried again.
    """

    config: Options = field(repr=False)
    client: Options = field(repr=False)
    retry: Retry
    stall: float

    @property
    def anonymous(self) -> bool:
        """Whether requests are not to be signed."""
        return str(self.config.get("skip_signature", "")).lower() in {"true", "1"}

    @property
    def secrets(self) -> list[str]:
        """The values that no message may show."""
        given = {**self.config, **self.client}
        values = [value for name, value in given.items() if any(part in name for part in _SECRET)]
        inner = [value for each in values if isinstance(each, Mapping) for value in each.values()]
        return [str(value) for value in (*values, *inner)]


def settings(service: str, options: Options | None) -> Settings:
    """The settings of a service, "s3", "r2", "gs", "azure", "http" or "hf", from a user's options.

    Raises UsageError for a name that is not known, or a value that makes no sense.
    """
    names = _NAMES[service]
    given = _renamed(service, {**names, **_CLIENT, **_OURS}, options or {})
    retry = Retry(
        attempts=int(_number(given.pop("retry_attempts", None), Retry().attempts)),
        seconds=_number(given.pop("retry_seconds", None), Retry().seconds),
    )
    stall = _number(given.pop("stall_seconds", None), 30.0)
    client = {name: given.pop(name) for name in _CLIENT if name in given}
    config = _COMPLETE.get(service, dict)(given)
    endpoint = config.get("endpoint") or config.get("base_url")
    if endpoint is not None:
        _check_endpoint(service, str(endpoint))
        if str(endpoint).startswith("http://"):
            client.setdefault("allow_http", True)
    return Settings(config=config, client=client, retry=retry, stall=stall)


def client_options(settings: Settings, wait: float) -> ClientConfig:
    """obstore's options of the HTTP client, for requests that are answered within `wait` seconds.

    Bodies may take as long as they like, if only bytes keep coming.
    """
    usual: ClientConfig = {
        "user_agent": "millstream",
        "connect_timeout": timedelta(seconds=min(10.0, wait)),
        "read_timeout": timedelta(seconds=wait),
        "timeout": timedelta(days=1),
    }
    return cast("ClientConfig", {**usual, **settings.client})


def _renamed(
    service: str, names: Mapping[str, tuple[str, ...]], options: Options
) -> dict[str, object]:
    known = {alias: name for name, aliases in names.items() for alias in (name, *aliases)}
    found: dict[str, object] = {}
    for key, value in options.items():
        # obstore knows each of its names with a prefix too, as the variables have it.
        bare = key.lower().removeprefix({"s3": "aws_", "r2": "aws_"}.get(service, f"{service}_"))
        name = known.get(key.lower()) or known.get(bare)
        if name is None:
            raise UsageError(f"storage_options has no {key!r} for {service}; {_known(service)}")
        if value is None:
            continue
        if found.setdefault(name, value) != value:
            raise UsageError(f"storage_options gives {name} twice, with different values")
    return found


def _known(service: str) -> str:
    names = [
        name + (f" (or {', '.join(aliases)})" if aliases else "")
        for name, aliases in _NAMES[service].items()
    ]
    return f"known are {', '.join(names)}; and for the connection {', '.join([*_CLIENT, *_OURS])}"


def _number(value: object, default: float) -> float:
    if value is None:
        return default
    try:
        return float(str(value))
    except ValueError:
        raise UsageError(f"storage_options: expected a number, got {value!r}") from None


def _check_endpoint(service: str, endpoint: str) -> None:
    if not endpoint.startswith(("http://", "https://")):
        raise UsageError(
            f"storage_options: the endpoint for {service} has to begin with http:// or https://"
        )


def _complete_r2(given: dict[str, object]) -> dict[str, object]:
    account = given.pop("account_id", None)
    if account is not None:
        given.setdefault("endpoint", f"https://{account}.r2.cloudflarestorage.com")
    given.setdefault("region", "auto")
    return given


def _complete_gcs(given: dict[str, object]) -> dict[str, object]:
    given.pop("project", None)  # objects are found by their bucket alone
    account = given.get("service_account")
    if isinstance(account, Mapping) or str(account).lstrip().startswith("{"):
        given["service_account_key"] = given.pop("service_account")
    if isinstance(key := given.get("service_account_key"), Mapping):
        given["service_account_key"] = json.dumps(dict(key))
    return given


_COMPLETE: dict[str, Callable[[dict[str, object]], dict[str, object]]] = {
    "r2": _complete_r2,
    "gs": _complete_gcs,
    "azure": azure_options,
}
