"""Makes the environments of the benchmarks; needs nothing but Python and pip.

The libraries want versions that do not go together. `.venv-bench` has torch and most of them;
`.venv-bench-arrow` and `.venv-bench-mosaic` lie over it: they see all that it has, and what
is installed in them comes first. A package that cannot be installed is named and left out, and
the report then says which library is missing.

    python benchmarks/environments.py
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
BASE = ".venv-bench"
OVERLAYS = ("arrow", "mosaic")
TORCH = "torch==2.13.0"
INSTALL = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install")

# MosaicML Streaming imports these names of torchvision, and uses them for formats of its own
# only. The real one would come with another torch.
TORCHVISION = {
    "torchvision/__init__.py": "",
    "torchvision/datasets.py": "class VisionDataset:\n    pass\n",
    "torchvision/transforms/__init__.py": "",
    "torchvision/transforms/functional.py": "def to_tensor(image):\n    raise TypeError\n",
}


def make_environments(root: Path) -> None:
    """All environments in a folder, anew."""
    base = make(root / BASE)
    # With all that torch needs on this platform; the pins that follow are without.
    requirements = HERE / "requirements.txt"
    subprocess.run([base, *INSTALL, "-c", str(requirements), TORCH], check=True)
    install(base, requirements)
    for name in OVERLAYS:
        python = make(root / f"{BASE}-{name}")
        lay_over(python, site_packages(base))
        install(python, HERE / f"requirements-{name}.txt")
        if name == "mosaic":
            write_files(site_packages(python), TORCHVISION)


def make(folder: Path) -> Path:
    """An empty environment; returns its interpreter."""
    print(f"Setting up {folder.name} (once; a few minutes)", flush=True)
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    return folder / "bin" / "python"


def install(python: Path, requirements: Path) -> None:
    """Each line as it is, without what it asks for; one that fails does not stop the others."""
    command = [python, *INSTALL, "--no-deps"]
    if subprocess.run([*command, "-r", str(requirements)]).returncode == 0:
        return
    failed = [pin for pin in pins(requirements) if subprocess.run([*command, pin]).returncode]
    print(f"could not be installed: {', '.join(failed) or 'nothing, one by one'}", file=sys.stderr)


def pins(requirements: Path) -> Sequence[str]:
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def site_packages(python: Path) -> Path:
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    told = subprocess.run([python, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    return Path(told.stdout.strip())


def lay_over(python: Path, below: Path) -> None:
    """The packages of another environment come after this one's own."""
    write_files(site_packages(python), {"below.pth": f"{below}\n"})


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    make_environments(HERE.parent)
