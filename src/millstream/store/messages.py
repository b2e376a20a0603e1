"""The error that a failed request becomes, in words: what, where, how often, what to check."""

from __future__ import annotations

from millstream.errors import (
    AccessDenied,
    CorruptData,
    MillstreamError,
    ObjectNotFound,
    StorageError,
    StoreUnavailable,
    UnsupportedError,
)
from millstream.store.failures import Kind, RequestFailure
from millstream.store.options import Settings
from millstream.store.place import Remote

_ERRORS: dict[Kind, type[MillstreamError]] = {
    Kind.MISSING: ObjectNotFound,
    Kind.DENIED: AccessDenied,
    Kind.CLOCK: AccessDenied,
    Kind.NO_CREDENTIALS: AccessDenied,
    Kind.BEYOND: CorruptData,
    Kind.UNSUPPORTED: UnsupportedError,
}
_CREDENTIALS = {
    "s3": "storage_options (aws_access_key_id, aws_secret_access_key), the AWS_* variables, or "
    "`aws configure`; a public bucket is read with skip_signature=True",
    "r2": "storage_options (aws_access_key_id, aws_secret_access_key), or the AWS_* variables",
    "gs": "storage_options (service_account or token), GOOGLE_APPLICATION_CREDENTIALS, or "
    "`gcloud auth application-default login`; a public bucket is read with skip_signature=True",
    "azure": "storage_options (account_url and credential), or the AZURE_STORAGE_* variables",
    "http": "storage_options (token), or the URL, if it was signed for a time",
    "hf": "storage_options (token), HF_TOKEN, or `hf auth login`; whether this account may read "
    "the repository",
}
_ADVICE = {
    Kind.NO_BUCKET: "Check its name, the region and the endpoint",
    Kind.CLOCK: "Set this machine's clock",
    Kind.REGION: "Give the bucket's region: storage_options={'region_name': ...}",
    Kind.CERTIFICATE: "Check the endpoint; for a private CA give root_certificate",
    Kind.PLAIN_HTTP: "If that is meant, give allow_http=True",
    Kind.NO_RANGES: "Use a server that serves byte ranges",
    Kind.BEYOND: "Write or copy this object again",
    Kind.CONNECT: "Check the endpoint, and this machine's network",
    Kind.TIMEOUT: "Check the network; stall_seconds= allows for longer pauses",
    Kind.THROTTLED: "Ask for less at once, or wait; retry_seconds= allows for longer",
}


def failure_error(
    remote: Remote,
    settings: Settings,
    action: str,
    failure: RequestFailure,
    attempts: int,
    seconds: float,
) -> MillstreamError:
    """The error to raise. action: such as "read chunks/ab12"."""
    usual = StoreUnavailable if failure.passing else StorageError
    error = _ERRORS.get(failure.kind, usual)
    tried = ""
    if failure.passing:
        times = "once" if attempts == 1 else f"{attempts} times"
        tried = f"; tried {times} in {seconds:.0f} s, of at most {settings.retry.seconds:.0f} s"
    said = without_secrets(str(failure), settings)
    advice = _advice(remote, failure.kind, action)
    return error(f"{remote}: cannot {action}: {said}{tried}." + (f" {advice}." if advice else ""))


def without_secrets(text: str, settings: Settings) -> str:
    """The text with every secret of the options struck out."""
    for secret in settings.secrets:
        if len(secret) > 3:
            text = text.replace(secret, "***")
    return text


def _advice(remote: Remote, kind: Kind, action: str) -> str:
    if kind is Kind.NO_CREDENTIALS:
        return f"Give them as {_CREDENTIALS[remote.service]}"
    if kind is Kind.DENIED:
        reading = remote.service == "s3" and not action.startswith(("write", "delete"))
        more = ". S3 says so of missing objects too, to who may not list the bucket"
        return f"Check {_CREDENTIALS[remote.service]}" + (more if reading else "")
    if kind is Kind.MISSING:
        return f"Check the key, and {remote.bucket}"
    return _ADVICE.get(kind, "")
