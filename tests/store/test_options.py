"""storage_options: every name that people use, on the one that obstore knows."""

from __future__ import annotations

import pytest
from servers.azure import Azurite
from servers.gcs import GCS
from servers.seaweedfs import SeaweedFS

from millstream.errors import AccessDenied, UsageError
from millstream.store import open_store
from millstream.store import options as options_module
from millstream.store.clients import Use, make_client
from millstream.store.options import settings
from millstream.store.place import Remote, parse

ACCOUNT = "https://acct.blob.core.windows.net"
SAS = "sv=1&sig=x"


@pytest.mark.parametrize(
    ("service", "given", "config"),
    [
        ("s3", {"aws_access_key_id": "k"}, {"access_key_id": "k"}),
        ("s3", {"AWS_ACCESS_KEY_ID": "k"}, {"access_key_id": "k"}),
        ("s3", {"aws_secret_access_key": "s"}, {"secret_access_key": "s"}),
        ("s3", {"AWS_SESSION_TOKEN": "t"}, {"session_token": "t"}),
        ("s3", {"endpoint_url": "https://h"}, {"endpoint": "https://h"}),
        ("s3", {"AWS_ENDPOINT_URL": "https://h"}, {"endpoint": "https://h"}),
        ("s3", {"region_name": "eu-west-1"}, {"region": "eu-west-1"}),
        ("s3", {"AWS_DEFAULT_REGION": "eu-west-1"}, {"region": "eu-west-1"}),
        ("s3", {"request_payer": True}, {"request_payer": True}),
        ("s3", {"AWS_REQUEST_PAYER": "true"}, {"request_payer": "true"}),
        ("s3", {"region": "a", "region_name": "a"}, {"region": "a"}),
        ("s3", {"aws_access_key_id": None}, {}),
        (
            "r2",
            {"account_id": "abc"},
            {"endpoint": "https://abc.r2.cloudflarestorage.com", "region": "auto"},
        ),
        ("gs", {"project": "p"}, {}),
        (
            "gs",
            {"token": "t", "endpoint": "https://h"},
            {"bearer_token": "t", "base_url": "https://h"},
        ),
        ("gs", {"service_account": "/key.json"}, {"service_account": "/key.json"}),
        ("gs", {"service_account": '{"a": 1}'}, {"service_account_key": '{"a": 1}'}),
        ("gs", {"service_account": {"a": 1}}, {"service_account_key": '{"a": 1}'}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/c"}, {"application_credentials": "/c"}),
        ("azure", {"account_url": ACCOUNT}, {"account_name": "acct"}),
        ("azure", {"account_url": ACCOUNT + "/?" + SAS}, {"account_name": "acct", "sas_key": SAS}),
        (
            "azure",
            {"account_url": "https://h:1/acct", "credential": "key=="},
            {"account_name": "acct", "endpoint": "https://h:1/acct", "account_key": "key=="},
        ),
        ("azure", {"credential": f"?{SAS}"}, {"sas_key": SAS}),
        (
            "azure",
            {"credential": {"account_name": "a", "account_key": "k"}},
            {"account_name": "a", "account_key": "k"},
        ),
        (
            "azure",
            {"connection_string": "AccountName=a;AccountKey=k==;EndpointSuffix=core.windows.net"},
            {"account_name": "a", "account_key": "k=="},
        ),
        (
            "azure",
            {"connection_string": "BlobEndpoint=https://h:1/a;AccountName=a;AccountKey=k=="},
            {"account_name": "a", "endpoint": "https://h:1/a", "account_key": "k=="},
        ),
        (
            "azure",
            {"connection_string": "AccountName=a;SharedAccessSignature=?sig=x;EndpointSuffix=c.cn"},
            {"account_name": "a", "sas_key": "sig=x", "endpoint": "https://a.blob.c.cn"},
        ),
        ("azure", {"AZURE_STORAGE_ACCOUNT_NAME": "a"}, {"account_name": "a"}),
        ("hf", {"token": "t"}, {"token": "t"}),
    ],
)
def test_names(service: str, given: dict[str, object], config: dict[str, object]) -> None:
    assert dict(settings(service, given).config) == config


@pytest.mark.parametrize(
    ("service", "given", "says"),
    [
        ("s3", {"aws_secret_acess_key": "s3cret"}, "'aws_secret_acess_key' for s3; known are acc"),
        ("gs", {"aws_access_key_id": "s3cret"}, "known are service_account"),
        ("azure", {"bucket": "x"}, "credential"),
        ("http", {"region": "x"}, "known are bearer_token.*retry_attempts"),
        ("s3", {"region": "a", "region_name": "b"}, "region twice"),
        ("s3", {"endpoint_url": "localhost:9000"}, "http://"),
        ("s3", {"stall_seconds": "soon"}, "a number"),
        ("s3", {"retry_attempts": 0}, "at least 1 attempt"),
        ("azure", {"account_url": "acct"}, "ACCOUNT.blob"),
        ("azure", {"credential": 7}, "got int"),
        ("azure", {"connection_string": "AccountKey=s3cret"}, "neither AccountName"),
    ],
)
def test_what_makes_no_sense(service: str, given: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        settings(service, given)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "given", "says"),
    [
        ("s3://b", {"access_key_id": "k"}, "SecretAccessKey"),
        ("gs://b", {"service_account": "/no/such.json"}, "no/such.json"),
        ("az://c", {"skip_signature": True}, "[Aa]ccount"),
        ("r2://b", {}, "account_id="),
        ("s3://b", {"allow_http": "s3cret-nonsense", "secret_access_key": "s3cret"}, "storage_opt"),
    ],
)
def test_options_that_do_not_fit_together(
    url: str, given: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=says) as error:
        open_store(url, given).get("a")
    assert error.value.__context__ is None


def test_every_name_of_the_client_is_known_to_it() -> None:
    """Each of our names is accepted by obstore, so that none is a promise it does not keep."""
    urls = {"s3": "s3://b", "gs": "gs://b", "azure": "az://c"}
    ours = {
        "profile_name",
        "account_url",
        "credential",
        "connection_string",
        "project",
        "account_id",
    }
    for service, url in urls.items():
        remote = parse(url)
        assert isinstance(remote, Remote)
        for name in set(options_module._NAMES[service]) - ours:
            try:
                make_client(remote, settings(service, {name: "https://true"}), Use.READ)
            except UsageError as error:
                assert "is not valid for store" not in str(error), name


def test_plain_http_is_allowed_where_the_endpoint_says_so() -> None:
    assert settings("s3", {"endpoint_url": "http://h"}).client == {"allow_http": True}
    assert settings("s3", {"endpoint_url": "https://h"}).client == {}
    assert settings("s3", {"endpoint_url": "http://h", "allow_http": False}).client == {
        "allow_http": False
    }


def test_the_credentials_of_the_environment(
    seaweedfs: SeaweedFS, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = seaweedfs.options()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["aws_secret_access_key"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweedfs.endpoint)
    open_store(f"s3://millstream/{prefix}").put("a", b"content")
    assert open_store(f"s3://millstream/{prefix}", given).get("a") == b"content"


@pytest.mark.parametrize("profile", [None, "other"])
def test_the_files_that_aws_configure_writes(
    seaweedfs: SeaweedFS,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    profile: str | None,
) -> None:
    home = tmp_path_factory.mktemp("home")
    given = seaweedfs.options()
    (home / "credentials").write_text(
        f"[{profile or 'default'}]\naws_access_key_id = {given['aws_access_key_id']}\n"
        f"aws_secret_access_key = {given['aws_secret_access_key']}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "none"))
    options = {"endpoint_url": seaweedfs.endpoint, "region": "us-east-1", "profile_name": profile}
    store = open_store(f"s3://millstream/{prefix}", options)
    store.put("a", b"content")
    assert store.get("a") == b"content"


def test_no_credentials_at_all_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client then asks the service that machines in a cloud have; here, one that is not."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/no/such/file")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/no/such/file")
    options = {"region": "us-east-1", "metadata_endpoint": "http://127.0.0.1:1/169.254.169.254"}
    with pytest.raises(AccessDenied, match=r"no credentials.*aws configure.*skip_signature"):
        open_store("s3://bucket", {**options, "allow_http": True}).get("a")


def test_who_is_anonymous_writes_nothing_and_asks_nobody(gcs: GCS, prefix: str) -> None:
    options = {"endpoint": gcs.endpoint, "anonymous": True}
    store = open_store(f"gs://millstream/{prefix}", options)
    for write in (
        lambda: store.put("a", b""),
        lambda: store.put_if_absent("a", b""),
        lambda: store.delete("a"),
        lambda: store.copy("a", "b"),
        lambda: store.put_file("a", __file__),
    ):
        with pytest.raises(AccessDenied, match="without credentials"):
            write()


def test_an_account_by_its_url_and_a_signature_for_reading(azurite: Azurite, prefix: str) -> None:
    options = azurite.options()
    account = {"account_url": options["endpoint"], "credential": options["account_key"]}
    open_store(f"azure://millstream/{prefix}", account).put("a", b"content")
    signature = azurite.shared_access("millstream")
    parts = f"BlobEndpoint={options['endpoint']};SharedAccessSignature={signature}"
    for reading in (
        {"account_url": options["endpoint"], "credential": signature},
        {"account_url": f"{options['endpoint']}?{signature}"},
        {"connection_string": parts},
    ):
        store = open_store(f"azure://millstream/{prefix}", reading)
        assert store.get("a") == b"content"
        with pytest.raises(AccessDenied):
            store.put("b", b"content")
