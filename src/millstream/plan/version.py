"""How a state names its data, and whether two names are of the same.

A version of a dataset has a digest. Files as they are have no versions: their name is a digest of
paths and sizes, then `@`, a digest of the place, `:`, and one of what the place says of each file's
writing (a time, an ETag); then, after a space, words for people. Of several datasets the names
stand side by side, `+` between them.
"""

from __future__ import annotations

from millstream.errors import StateMismatch

SHORT = 16


def shortened(version: str) -> str:
    """The names in short, as a state of many datasets has them: without words."""
    return "+".join(map(_shortened, version.split("+")))


def _shortened(name: str) -> str:
    digest, at, writing = name.partition(" ")[0].partition("@")
    return f"{digest[:SHORT]}{at}{writing}"


def content_of(version: str) -> str:
    """The digests alone: the same for data that was moved."""
    return "+".join(_parted(name)[0] for name in version.split("+"))


def compare_versions(saved: str, present: str) -> None:
    """Raises StateMismatch, naming what differs, unless both are of the same data.

    When a file was written can only be compared at one place: files that were copied to another
    are the same by their paths and sizes.
    """
    was, now = saved.split("+"), present.split("+")
    if len(was) != len(now):
        raise StateMismatch(
            f"the state was saved on version {_told(saved)} of a dataset, this is version "
            f"{_told(present)}{_ADVICE}"
        )
    for number, (mine, theirs) in enumerate(zip(was, now, strict=True)):
        _compare(mine, theirs, "a dataset" if len(was) == 1 else f"dataset {number}")


def _compare(was: str, now: str, which: str) -> None:
    (content, place, writing), (content_now, place_now, writing_now) = _parted(was), _parted(now)
    if content != content_now:
        raise StateMismatch(
            f"the state was saved on version {_told(was)} of {which}, this is version "
            f"{_told(now)}{_ADVICE}"
        )
    if place == place_now and writing != writing_now:
        raise StateMismatch(
            f"the state was saved on version {_told(was)} of {which}: there are the same paths and "
            "sizes now, but some files were written to or replaced since, as their times or ETags "
            "say. Give back the files as they were, or start anew. If they are copies of the same "
            "files, put them at another place: there paths and sizes decide"
        )


def _parted(name: str) -> tuple[str, str, str]:
    """The digests of the content, the place and the writing; the last two may be empty."""
    digest, _, rest = name.partition(" ")[0].partition("@")
    place, _, writing = rest.partition(":")
    return digest, place, writing


def _told(version: str) -> str:
    """Digests in short; what is said of one in words stays."""
    found = []
    for name in version.split("+"):
        _, separator, words = name.partition(" ")
        found.append(f"{_parted(name)[0][:SHORT]}{separator}{words}")
    return "+".join(found)


_ADVICE = (
    ". Open the version of the state with version=, give back the files as they were, or start anew"
)
