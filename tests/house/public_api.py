"""The public names and their signatures as text.

python tests/house/public_api.py            prints them
python tests/house/public_api.py --write    makes them the expected ones
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

GOLDEN = Path(__file__).with_name("public_api.json")

Surface = dict[str, str | dict[str, str]]


def surface() -> Surface:
    """Each name of `millstream.__all__`: a signature, or for a class one for each member."""
    import millstream

    return {name: _described(getattr(millstream, name)) for name in millstream.__all__}


def _described(value: object) -> str | dict[str, str]:
    if inspect.isclass(value):
        members = {name: _member(value, name) for name in sorted(_public_members(value))}
        bases = ", ".join(base.__qualname__ for base in value.__bases__)
        return {"class": f"({bases})", "__init__": _signature(value), **members}
    return _signature(value) if callable(value) else type(value).__qualname__


def _public_members(cls: type) -> set[str]:
    """What our own classes define; what they inherit from others is the others' promise."""
    ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "millstream"]
    return {
        name
        for base in ours
        for name in vars(base)
        if not name.startswith("_") or name in {"__len__", "__getitem__", "__iter__"}
    }


def _member(cls: type, name: str) -> str:
    value = inspect.getattr_static(cls, name)
    if isinstance(value, staticmethod | classmethod):
        return f"{type(value).__name__} {_signature(value.__func__)}"
    return _signature(value) if inspect.isfunction(value) else "attribute"


def _signature(value: object) -> str:
    try:
        return str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # a class in C, an exception: it has none
        return "(...)"


def as_text(found: Surface) -> str:
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
    if "--write" in sys.argv[1:]:
        GOLDEN.write_text(as_text(surface()), encoding="utf-8")
    else:
        print(as_text(surface()), end="")
