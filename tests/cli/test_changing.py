"""repair, prune and optimize from the command line, and the command line itself."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import add_version, everything, flip, manifest_file, write
from scripts import SOURCE

import millstream as ms
from millstream.cli import INTERRUPTED, PIPE_CLOSED, main, parser
from millstream.cli.arguments import age
from millstream.cli.write import find_inputs
from millstream.errors import UsageError
from millstream.store import LocalStore
from millstream.writing.folder import unfinished
from millstream.writing.knobs import WITHOUT_EFFECT

COMMANDS = [
    "info", "ls", "get", "verify", "repair", "prune", "optimize", "commit", "merge", "images",
]  # fmt: skip


# The command line itself -----------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_and_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"  millstream {command} " in out
    assert "exit codes: 0" in out
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name} " not in out] == []


@pytest.mark.parametrize(
    "line",
    ["", "inof d", "info", "get d one", "prune d", "prune d --keep 0 --older-than 1d",
     "prune d --keep 1 --older-than 5", "prune d --keep 1", "verify d --qui"],
)  # fmt: skip
def test_a_wrong_command_line_is_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", [["info"], ["ls"], ["get", "0"], ["verify"], ["repair"]])
def test_no_dataset_is_one_line_and_1(tmp_path: Path, run: Any, command: list[str]) -> None:
    name, *rest = command
    code, out, err = run(name, tmp_path, *rest)
    assert (code, out) == (1, "")
    assert err.startswith(f"millstream {name}: {tmp_path} holds no ")
    assert err.count("\n") == 1


def test_ages() -> None:
    found = [age(text) for text in ("0", "90s", "30m", "12h", "7d", "2w", "1.5h")]
    assert found == [0, 90, 1_800, 43_200, 604_800, 1_209_600, 5_400]


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "millstream.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_as_a_program(store: LocalStore) -> None:
    process = start("info", store.root, "--json")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["rows"] == 60
    process = start("get", store.root, "99")
    out, err = process.communicate()
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)


def test_a_reader_that_has_seen_enough_is_no_error(store: LocalStore) -> None:
    read, written = os.pipe()
    process = start("ls", store.root, stdout=written)
    os.close(written)
    os.close(read)
    _, err = process.communicate()
    assert (process.returncode, err) == (PIPE_CLOSED, "")


def test_ctrl_c_is_one_line(store: LocalStore, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("millstream.cli.check.check_bytes", interrupted)
    assert run("verify", store.root) == (INTERRUPTED, "", "millstream verify: interrupted\n")


# repair and prune ------------------------------------------------------------------------------


def test_repair(store: LocalStore, run: Any) -> None:
    before = everything(store.root)
    code, out, err = run("repair", store.root)
    assert (code, err) == (0, "")
    assert out == f"{store}: version 1 is the newest and can be read; nothing to repair\n"
    flip(manifest_file(store), 80)
    _, out, err = run("repair", store.root, "--dry-run")
    assert "would be moved aside to" in out
    assert "would be rebuilt from the 3 chunks of the job" in out
    assert err.startswith("version 1 was damaged: the manifest does not match its checksum")
    _, out, _ = run("repair", store.root, "--json")
    found = json.loads(out)
    assert found["moved_aside"] == {"1": "versions/000000000001.damaged"}
    assert (found["rebuilt"]["rows"], found["rebuilt"]["chunks"]) == (60, 3)
    after = everything(store.root)
    assert {key: after[key] for key in before} == before
    store.path("latest").unlink()
    assert run("repair", store.root)[1].startswith(f"{store}/latest written again\n")


def test_repair_asks_which_job(tmp_path: Path, store: LocalStore, run: Any) -> None:
    add_version(store, write(tmp_path / "other", 30, lambda i: i).root)
    for number in (1, 2):
        manifest_file(store, number).unlink()
    code, out, err = run("repair", store.root)
    assert (code, out) == (2, "")
    assert "--job" in err
    assert "30 rows, 2 chunks" in err


def test_prune(store: LocalStore, run: Any) -> None:
    add_version(store, first=1)
    before = everything(store.root)
    code, out, _ = run("prune", store.root, "--keep", 1, "--older-than", "1h")
    assert (code, out) == (0, f"{store}: versions 1, 2 kept\n0 B freed: 0 objects\n")
    _, out, _ = run("prune", store.root, "--keep", 1, "--older-than", 0, "--dry-run")
    assert "version 1 would be pruned" in out
    assert "would be freed: 1 object\n" in out
    assert everything(store.root) == before
    found = json.loads(run("prune", store.root, "--keep", 1, "--older-than", 0, "--json")[1])
    assert (found["kept"], found["pruned"], len(found["deleted"])) == ([2], [1], 1)
    assert found["freed_bytes"] == len(before[found["deleted"][0]])
    store.put(f"chunks/{'a' * 64}", b"xyz")
    _, out, _ = run("prune", store.root, "--keep", 1, "--older-than", "1h")
    assert out.endswith("1 object (3 B) that nothing needs, but too young to go\n")
    store.path(".job").mkdir()
    with unfinished(store):
        code, _, err = run("prune", store.root, "--keep", 1, "--older-than", 0)
    assert (code, "another process is writing" in err) == (1, True)


# optimize --------------------------------------------------------------------------------------

MODULE = """
import os

class Holder:
    @staticmethod
    def size(path):
        return {"path": path, "size": os.path.getsize(path)}

def text(line):
    if line == "bad":
        raise ValueError("a bad line")
    return line

nothing = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a module of functions and some files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("functions", "broken", "needy"):  # another test's module of this name
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("functions.py").write_text(MODULE)
    Path("broken.py").write_text("import json\njson.loads('{')\n")
    Path("needy.py").write_text("import a_library_that_nobody_has\n")
    for name in ("b/2.jpg", "b/1.jpg", "a/3.png", "a/.hidden", ".git/x", "c.jpg", "b/deep/4.jpg"):
        path = Path("files", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_inputs(here: Path) -> None:
    everything = ["a/3.png", "b/1.jpg", "b/2.jpg", "b/deep/4.jpg", "c.jpg"]
    assert find_inputs("files", "out") == [f"files/{name}" for name in everything]
    jpegs = [f"files/{name}" for name in everything[1:]]
    assert find_inputs("files/**/*.jpg", "out") == jpegs
    assert find_inputs("files/*", "out") == ["files/c.jpg"]
    assert find_inputs("files/c.jpg", "out") == ["files/c.jpg"]
    assert find_inputs("files", "files/b") == ["files/a/3.png", "files/c.jpg"]
    assert find_inputs("files/**/*.jpg", "files/b") == ["files/c.jpg"]
    Path("list.txt").write_text("two words\n\nhttps://example.org/1\nfiles\n")
    assert find_inputs("@list.txt", "out") == ["two words", "https://example.org/1", "files"]
    Path("empty.txt").touch()
    for nothing in ("none", "files/*.gif", "@empty.txt", "files/.git"):
        with pytest.raises(UsageError, match="no input"):
            find_inputs(nothing, "out" if nothing != "files/.git" else "files/.git")


def test_optimize(here: Path, run: Any) -> None:
    line = ["optimize", "functions:Holder.size", "files", "files/out", "--workers", 2]
    code, out, err = run(*line)
    assert (code, err) == (0, "5 inputs, from files/a/3.png\n")
    assert out.startswith(f"{here}/files/out: 5 samples, ")
    assert ms.StreamingDataset("files/out")[4] == {"path": "files/c.jpg", "size": 5}
    assert "was already complete" in run(*line)[1]
    report = json.loads(run(*line, "--json")[1])
    assert (report["samples"], report["already_done"]) == (5, True)


def test_optimize_skips_and_cuts_as_asked(here: Path, run: Any) -> None:
    Path("list.txt").write_text("one\nbad\nthree\n")
    line = ["optimize", "functions:text", "@list.txt", "out", "--workers", "0"]
    code, out, err = run(*line)
    assert (code, out) == (1, "")
    assert "ValueError: a bad line for input 1 ('bad')" in err
    code, out, _ = run(*line[:-3], "other", *line[-2:], "--on-error", "skip", "--chunk-size", "1")
    assert code == 0
    assert "2 samples" in out
    assert "in 2 chunks" in out
    assert "1 inputs skipped" in out
    assert list(ms.StreamingDataset("other")) == ["one", "three"]


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("functions", 2, "is not MODULE:FUNCTION"),
        ("functions:", 2, "is not MODULE:FUNCTION"),
        ("none:fn", 2, "no module 'none', neither in "),
        ("functions.deeper:fn", 2, "no module 'functions.deeper'"),
        ("functions:none", 2, "has no function 'none'"),
        ("functions:nothing", 2, "has no function 'nothing'"),
        ("broken:fn", 1, "importing broken raised JSONDecodeError"),
        ("needy:fn", 1, "importing needy raised ModuleNotFoundError"),
    ],
)
def test_functions_that_cannot_be_had(
    here: Path, run: Any, function: str, code: int, words: str
) -> None:
    found, out, err = run("optimize", function, "files", "out")
    assert (found, out) == (code, "")
    assert words in err
    assert not Path("out").exists()


def test_every_argument_of_optimize_has_an_option() -> None:
    args = vars(parser().parse_args(["optimize", "m:f", "in", "out"]))
    renamed = {"fn": "function", "output_dir": "output", "verbose": "json"}
    in_python_alone = {"weights", "reader", "serializers", "machine", "executor", *WITHOUT_EFFECT}
    parameters = inspect.signature(ms.optimize).parameters.keys() - in_python_alone
    assert [name for name in parameters if renamed.get(name, name) not in args] == []
    for name, value in (("chunk_bytes", "5MB"), ("chunk_size", "5"), ("num_workers", "0")):
        option = "--" + name.replace("_", "-")
        line = ["optimize", "m:f", "in", "out", option, value]
        assert str(vars(parser().parse_args(line))[name]) == value
