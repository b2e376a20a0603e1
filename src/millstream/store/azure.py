"""Azure's ways of naming an account and its secret, as obstore's options."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from millstream.errors import UsageError

_CLOUD = ".blob.core.windows.net"


def azure_options(given: dict[str, object]) -> dict[str, object]:
    """Options in which account_url, credential and connection_string are taken apart.

    What is given by a name of its own goes before what one of these says.
    """
    parts: dict[str, object] = {}
    if (text := given.pop("connection_string", None)) is not None:
        parts |= _from_connection_string(str(text))
    if (url := given.pop("account_url", None)) is not None:
        parts |= _from_account_url(str(url))
    if (credential := given.pop("credential", None)) is not None:
        parts |= _from_credential(credential)
    found = {**parts, **given}
    if isinstance(sas := found.get("sas_key"), str):
        found["sas_key"] = sas.removeprefix("?")
    return found


def _from_account_url(url: str) -> dict[str, object]:
    """https://ACCOUNT.blob.core.windows.net, or the address of an emulator with /ACCOUNT."""
    parsed = urlsplit(url)
    if parsed.scheme not in {"http", "https"} or not parsed.hostname:
        raise UsageError(
            "storage_options: account_url has to look like https://ACCOUNT.blob.core.windows.net"
        )
    path = parsed.path.strip("/")
    account = path or parsed.hostname.partition(".")[0]
    found: dict[str, object] = {"account_name": account}
    if not (parsed.scheme == "https" and parsed.hostname == account + _CLOUD):
        found["endpoint"] = f"{parsed.scheme}://{parsed.netloc}" + (f"/{path}" if path else "")
    if parsed.query:
        found["sas_key"] = parsed.query
    return found


def _from_credential(credential: object) -> dict[str, object]:
    """A key, a SAS token, or {"account_name": ..., "account_key": ...}."""
    if isinstance(credential, Mapping):
        return {str(name): value for name, value in credential.items()}
    if not isinstance(credential, str):
        raise UsageError(
            "storage_options: credential is an account key, a SAS token, or a dict of account_name "
            f"and account_key, got {type(credential).__name__}; for others give client_id, "
            "client_secret and tenant_id, or token"
        )
    return {"sas_key" if "sig=" in credential else "account_key": credential}


def _from_connection_string(text: str) -> dict[str, object]:
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    values = {name.strip().lower(): value.strip() for name, _, value in pairs}
    found: dict[str, object] = {}
    for theirs, ours in (
        ("accountname", "account_name"),
        ("accountkey", "account_key"),
        ("sharedaccesssignature", "sas_key"),
    ):
        if values.get(theirs):
            found[ours] = values[theirs]
    if endpoint := values.get("blobendpoint"):
        return {**_from_account_url(endpoint), **found}
    if values.get("usedevelopmentstorage", "").lower() == "true":
        found["use_emulator"] = True
    elif "account_name" not in found:
        raise UsageError(
            "storage_options: connection_string has neither AccountName nor BlobEndpoint; copy it "
            "from the access keys of the storage account"
        )
    elif (suffix := values.get("endpointsuffix", "core.windows.net")) != "core.windows.net":
        scheme = values.get("defaultendpointsprotocol", "https")
        found["endpoint"] = f"{scheme}://{found['account_name']}.blob.{suffix}"
    return found
