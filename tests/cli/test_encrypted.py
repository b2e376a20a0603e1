"""Commands on encrypted datasets: what needs no key, and keys that come from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import make, write
from encryption.kinds import PASSWORD, RSA, Reversed, aes, fernet

import millstream as ms
from millstream.utilities.encryption import AESGCMEncryption

WRONG = "not the password"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


@pytest.mark.parametrize(
    ("options", "told", "stored"),
    [
        (
            {"encryption": fernet()},
            "compression none, encryption fernet, by sample",
            {"cheap_random_access": True},
        ),
        (
            {"encryption": aes(level="chunk")},
            "compression none; no cheap random access: a row needs its whole chunk; encryption "
            "aes-gcm, by chunk",
            {"cheap_random_access": False},
        ),
        (
            {"encryption": fernet(), "compression": "zstd"},
            "compression zstd, level 3, by row, encryption fernet, by sample",
            {"cheap_random_access": True, "level": 3, "by": "row", "ratio": None},
        ),
    ],
)
def test_info_needs_no_key(
    tmp_path: Path, run: Any, document: Any, options: Any, told: str, stored: Any
) -> None:
    write(tmp_path / "d", **options)
    code, out, err = run("info", tmp_path / "d")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert lines["stored"].endswith(told)
    assert lines["name"].endswith("unknown")
    found = document("info", tmp_path / "d")
    assert found["encryption"] == options["encryption"].kind
    assert found["stored"] == stored


def test_info_knows_no_shape_of_what_is_encrypted_by_sample(tmp_path: Path, document: Any) -> None:
    write(tmp_path / "d", encryption=fernet())
    fields = document("info", tmp_path / "d")["fields"]
    assert [(field["shape"], field["mean_bytes"]) for field in fields] == [(None, None)] * 5


def test_other_commands_need_none(tmp_path: Path, run: Any) -> None:
    write(tmp_path / "d", encryption=aes())
    for command in (["ls"], ["verify"], ["repair"]):
        code, _, err = run(*command, tmp_path / "d")
        assert code == 0, err


@pytest.mark.parametrize("key", [fernet(), aes(level="chunk")], ids=["fernet", "aes"])
def test_get_takes_the_password_from_a_file(
    tmp_path: Path, run: Any, password: Path, key: Any
) -> None:
    write(tmp_path / "d", encryption=key)
    code, out, _ = run("get", tmp_path / "d", 7, "--field", "name", "--password-file", password)
    assert (code, out.strip()) == (0, make(7)["name"])
    code, out, err = run("get", tmp_path / "d", 7)
    assert (code, out) == (1, "")
    assert "pass encryption=" in err
    password.write_text(WRONG)
    code, out, err = run("get", tmp_path / "d", 7, "--password-file", password)
    assert (code, out) == (1, "")
    assert "is wrong" in err
    assert WRONG not in err
    password.write_text("\n")
    assert run("get", tmp_path / "d", 7, "--password-file", password)[0] == 2


def test_get_takes_keys_from_files(tmp_path: Path, run: Any, password: Path) -> None:
    key_file, folder = tmp_path / "key", tmp_path / "d"
    options = ("--field", "name", "--key-file", key_file, "--password-file", password)
    write(folder / "rsa", encryption=RSA)
    RSA.save_private_key(key_file)
    assert run("get", folder / "rsa", 7, *options)[1].strip() == make(7)["name"]
    assert run("get", folder / "rsa", 7, "--password-file", password)[0] == 2
    key = AESGCMEncryption(PASSWORD, key=bytes(32))
    write(folder / "aes", encryption=key)
    key.save(key_file)
    assert run("get", folder / "aes", 7, *options)[1].strip() == make(7)["name"]
    assert run("get", folder / "aes", 7, "--key-file", key_file)[0] == 2
    write(folder / "custom", encryption=Reversed())
    code, _, err = run("get", folder / "custom", 7, *options)
    assert (code, "read it in Python" in err) == (2, True)
    # A key for what is not encrypted does no harm.
    write(folder / "plain")
    assert run("get", folder / "plain", 7, "--password-file", password)[0] == 0


def test_optimize_takes_keys_from_files(
    tmp_path: Path, run: Any, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made_here_encrypted.py").write_text("def f(text):\n    return {'text': text}\n")
    Path("list").write_text("one\ntwo\n")
    RSA.save_public_key("public.pem")
    base = ("optimize", "made_here_encrypted:f", "@list")
    by_password = ("--password-file", password, "--workers", 0)
    for name, key, options in [
        ("fernet", fernet(), by_password),
        ("aes-gcm", aes(), (*by_password, "--encryption-level", "chunk")),
        ("rsa", RSA, ("--key-file", "public.pem", "--workers", 0)),
    ]:
        code, _, err = run(*base, name, "--encryption", name, *options)
        assert code == 0, err
        found = [s["text"] for s in ms.StreamingDataset(name, encryption=key)]
        assert found == ["one", "two"]
    for wrong in (
        ["--password-file", password],
        ["--encryption", "rsa"],
        ["--encryption", "fernet"],
    ):
        assert run(*base, "none", *wrong)[0] == 2
    assert not Path("none").exists()
