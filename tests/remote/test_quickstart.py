"""docs/quickstart.md as a reader follows it: all of it in one file, the bucket on an S3 server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from servers.seaweedfs import SeaweedFS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
BUCKET = "s3://my-bucket/photos"


def blocks(language: str) -> str:
    """All blocks of the page in a language, those that are marked no-run too."""
    fence = rf"^```{language}[^\n]*\n(.*?)^```$"
    return "\n".join(re.findall(fence, PAGE.read_text(), re.MULTILINE | re.DOTALL))


def run(command: list[str], folder: Path, server: SeaweedFS) -> str:
    """What a command says that works in a folder and finds the server by its environment."""
    options = server.options()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(folder / "home"),
        "AWS_ACCESS_KEY_ID": options["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": options["aws_secret_access_key"],
        "AWS_ENDPOINT_URL": options["endpoint_url"],
        "AWS_REGION": options["region"],
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quick_start_runs_with_its_bucket(
    tmp_path: Path, seaweedfs: SeaweedFS, prefix: str
) -> None:
    code, places = re.subn(BUCKET, f"s3://millstream/{prefix}", blocks("python"))
    assert places == 2
    program = tmp_path / "train.py"
    program.write_text(code)
    told = run([sys.executable, program.name], tmp_path, seaweedfs)
    assert told.count("300 samples") >= 3  # two reports, and what a dataset says of itself

    lines = blocks("sh").splitlines()
    assert [line.split()[1] for line in lines] == ["info", "get", "verify"]
    for line in lines:
        command = [sys.executable, "-m", "millstream.cli", *line.split()[1:]]
        run(command, tmp_path, seaweedfs)
    photos = sorted((tmp_path / "photos").iterdir())
    assert (tmp_path / "17.jpg").read_bytes() == photos[17].read_bytes()
