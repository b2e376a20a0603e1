"""Whether an object is still the one that a listing told of."""

from __future__ import annotations

from xxhash import xxh3_64_hexdigest

from millstream.errors import ObjectChanged
from millstream.store.protocol import ObjectInfo


def tag_of(said: object) -> str:
    """16 hex digits of what a store says of an object's content, an ETag, say; "" if nothing.

    Listings and answers quote ETags in different ways.
    """
    text = "" if said is None else str(said).removeprefix("W/").strip('"')
    return xxh3_64_hexdigest(text.encode()) if text else ""


def check_listed(store: object, listed: ObjectInfo, size: int, tag: str) -> None:
    """Raises ObjectChanged unless an object has the size and the tag with which it was listed.

    tag: "" if that is not known now.
    """
    if size != listed.size:
        raise ObjectChanged(
            f"{store}: {listed.key} was listed with {listed.size:,} bytes and has {size:,} now"
            f"{_ADVICE}"
        )
    if listed.tag and tag and tag != listed.tag:
        raise ObjectChanged(
            f"{store}: {listed.key} was replaced or written to since it was listed; it still has "
            f"{size:,} bytes{_ADVICE}"
        )


_ADVICE = ". Give back the file as it was, or list the files again: open the dataset anew"
