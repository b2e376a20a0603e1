"""What LitData 0.2.34 documents about compression and encryption, with only the import changed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from servers.seaweedfs import SeaweedFS

import millstream as ld
from millstream import StreamingDataset, optimize
from millstream.errors import CannotDecrypt
from millstream.utilities.encryption import Encryption, FernetEncryption

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def compress(index: int) -> tuple[int, int]:
    return index, index**2


def test_compression_makes_it_smaller_and_gives_the_same_back() -> None:
    sizes = {}
    for name, options in {"plain": {}, "packed": {"compression": "zstd"}}.items():
        report = ld.optimize(
            fn=compress,
            inputs=list(range(100)),
            output_dir=name,
            chunk_bytes="64MB",
            num_workers=1,
            **options,
        )
        sizes[name] = report.bytes
        assert ld.StreamingDataset(name)[:] == [compress(index) for index in range(100)]
    assert sizes["packed"] < 0.6 * sizes["plain"]


def random_image(index: int) -> dict[str, Any]:
    pixels = np.random.default_rng(index).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    return {"image": Image.fromarray(pixels), "class": index}


@pytest.mark.parametrize("level", ["sample", "chunk"])
def test_encryption_by_a_password(level: Any, seaweedfs: SeaweedFS, prefix: str) -> None:
    fernet = FernetEncryption(password="your_secure_password", level=level)
    data_dir, options = f"s3://millstream/{prefix}", seaweedfs.options()
    optimize(
        fn=random_image,
        inputs=list(range(5)),
        num_workers=1,
        output_dir=data_dir,
        chunk_bytes="64MB",
        encryption=fernet,
        storage_options=options,
    )
    fernet.save("fernet.pem")
    saved = Path("fernet.pem").read_bytes()
    assert b"your_secure_password" not in saved

    fernet = FernetEncryption(password="your_secure_password", level=level)
    fernet.load("fernet.pem")
    loaded = FernetEncryption.load("fernet.pem", "your_secure_password")
    for key in (fernet, loaded):
        dataset = StreamingDataset(data_dir, encryption=key, storage_options=options)
        for index in range(5):
            expected, got = random_image(index), dataset[index]
            assert got["class"] == index
            assert got["image"].tobytes() == expected["image"].tobytes()
    wrong = FernetEncryption(password="another", level=level)
    with pytest.raises(CannotDecrypt, match="password"):
        StreamingDataset(data_dir, encryption=wrong, storage_options=options)[0]


class CustomEncryption(Encryption):
    """As the page has it: encrypt and decrypt, nothing more."""

    def encrypt(self, data: bytes) -> bytes:
        return base64.b85encode(data)

    def decrypt(self, data: bytes) -> bytes:
        return base64.b85decode(data)


def test_encryption_of_ones_own() -> None:
    optimize(
        fn=compress,
        inputs=list(range(20)),
        output_dir="own",
        chunk_bytes="64MB",
        encryption=CustomEncryption(),
    )
    dataset = StreamingDataset("own", encryption=CustomEncryption())
    assert dataset[:] == [compress(index) for index in range(20)]
