"""What is done to bytes on their way from a layout to the stored object, and undone on reading.

A header lists, for each part of a chunk and for its whole body, filters in the order in which they
were applied. A filter is made anew for each chunk: on writing it may choose what is right for this
chunk alone (a salt, a key), and its `spec` says all of that but secrets; on reading it is made of
that spec. It is applied to one unit at a time: the blob of a row, a page, or the body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from millstream.errors import CorruptData, MillstreamError, UnsupportedError
from millstream.format.layout import Buffer, Identity, Spec

Kind = Literal["columns", "blobs", "tokens", "body"]


class Unit(NamedTuple):
    """What a filter is applied to; two units of a chunk are never the same.

    part, entry: which list of the header it belongs to, and which entry there. number: of the row
    or page.
    """

    part: Kind
    entry: int = 0
    number: int = 0


BODY = Unit("body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The chunk that a filter is made for. dictionary: for compression, if the chunk has one."""

    identity: Identity
    dictionary: bytes | None = None


class Filter(Protocol):
    """A filter as one chunk has it; threads may share it."""

    @property
    def spec(self) -> Spec:
        """What a header says of it: its `name`, and what is needed to undo it but secrets."""

    @property
    def is_optional(self) -> bool:
        """Whether what gets no smaller may be stored without it."""

    def apply(self, content: Buffer, unit: Unit) -> Buffer:
        """What is stored of a unit."""

    def undo(self, content: Buffer, unit: Unit, size: int | None) -> Buffer:
        """The inverse. Raises CorruptData.

        size: of the result, if that is known; what is longer must not be made, and without it the
        filter has to have a limit of its own.
        """


# On writing: makes a filter for a chunk. It travels to workers, so it pickles.
MakeFilter = Callable[[Setting], Filter]
# On reading: makes a filter from what a header says of it, by its name. These are all that are
# known to who reads: keys come in by them. One that gives None leaves all as it is stored, for who
# compares checksums alone.
Known = Mapping[str, Callable[[Spec, Setting], Filter | None]]


@dataclass(frozen=True, slots=True)
class Chain:
    """Filters that are applied one after another. is_shut: whether they cannot be undone here."""

    filters: tuple[Filter, ...]
    is_shut: bool = False

    @property
    def specs(self) -> tuple[Spec, ...]:
        """What a header says of them."""
        return tuple(filter.spec for filter in self.filters)

    @property
    def is_optional(self) -> bool:
        """Whether all of them are."""
        return all(one.is_optional for one in self.filters)

    def apply(self, content: Buffer, unit: Unit) -> Buffer:
        """What is stored of a unit."""
        for one in self.filters:
            content = one.apply(content, unit)
        return content

    def undo(self, content: Buffer, unit: Unit, size: int | None = None) -> Buffer:
        """The inverse; raises CorruptData, also if it has not the size that it must have.

        Of what is shut just what is stored.
        """
        if self.is_shut:
            return content
        for one in self.filters[:0:-1]:
            content = one.undo(content, unit, None)
        content = self.filters[0].undo(content, unit, size)
        if size is not None and len(content) != size:
            raise CorruptData(f"holds {len(content)} bytes where {size} were written")
        return content


def make_chain(makers: Sequence[MakeFilter], setting: Setting) -> Chain:
    """The filters of a chunk that is written."""
    return Chain(tuple(make(setting) for make in makers))


def refuse_unknown(specs: Sequence[Spec], known: Known) -> None:
    """Raises UnsupportedError for a filter that is not known."""
    for spec in specs:
        if spec["name"] not in known:
            raise UnsupportedError(
                f"is written with {name_text(spec)}, which is not known here; this reader knows "
                f"{', '.join(sorted(known)) or 'no filter'}"
            )


def known_chain(specs: Sequence[Spec], known: Known, setting: Setting) -> Chain:
    """The filters of a chunk that is read, all of which are known; raises CorruptData."""
    made = [_made(spec, known, setting) for spec in specs]
    there = tuple(one for one in made if one is not None)
    return Chain(there, is_shut=len(there) < len(made))


def _made(spec: Spec, known: Known, setting: Setting) -> Filter | None:
    try:
        return known[str(spec["name"])](spec, setting)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, MillstreamError):
            raise
        raise CorruptData(f"its filter {name_text(spec)} is malformed: {error!r:.80}") from None


def name_text(spec: Spec) -> str:
    """A filter's name, for a message."""
    return repr(spec.get("name"))[:40]


def specs_of(value: Any) -> tuple[Spec, ...]:
    """The filters that a header lists; raises CorruptData."""
    for spec in value:
        if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
            raise CorruptData(f"a filter is an object with a name, got {spec!r:.60}")
    return tuple(value)
