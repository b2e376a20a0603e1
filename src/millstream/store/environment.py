"""The one place of this package that reads the environment, and the files that it points to.

The cloud client reads the variables AWS_*, GOOGLE_* and AZURE_* by itself. Here is what it does not
know: the hub's variables, and the files that `aws configure` and `hf auth login` write.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass, field
from pathlib import Path

HUB = "https://huggingface.co"
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# What the client finds by itself goes before the files.
_S3_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")
_S3_FILE_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Where the hub is. token: what `hf auth login` stored, or "" for none."""

    endpoint: str
    token: str = field(repr=False)


def hub() -> Hub:
    """HF_ENDPOINT and HF_TOKEN, or the token in its file."""
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    token = os.environ.get("HF_TOKEN", "")
    if not token:
        home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
        file = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
        token = file.read_text(encoding="utf-8") if file.is_file() else ""
    return Hub(endpoint=endpoint.rstrip("/"), token=token.strip())


def s3_endpoint() -> str:
    """The endpoint that the client will find in the environment, or ""."""
    return next((os.environ[name] for name in _S3_ENDPOINTS if os.environ.get(name)), "")


def s3_has_credentials() -> bool:
    """Whether the client will find credentials in the environment, so that no file is needed."""
    return any(os.environ.get(name) for name in _S3_CREDENTIALS)


def s3_profile(name: str | None) -> dict[str, str]:
    """Keys and region of a profile in the files of `aws configure`; empty if it has none.

    name: None for AWS_PROFILE, or the default one.
    """
    name = name or os.environ.get("AWS_PROFILE") or "default"
    keys = _section("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", name)
    section = name if name == "default" else f"profile {name}"
    settings = _section("AWS_CONFIG_FILE", "~/.aws/config", section)
    found = {ours: keys[theirs] for theirs, ours in _S3_FILE_KEYS.items() if theirs in keys}
    named = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if "region" in settings and not named:
        found["region"] = settings["region"]
    return found


def _section(variable: str, usual: str, section: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(Path(os.environ.get(variable) or usual).expanduser(), encoding="utf-8")
        return dict(parser[section])
    except (configparser.Error, KeyError, UnicodeDecodeError):
        return {}
