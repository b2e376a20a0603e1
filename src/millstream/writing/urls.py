"""Inputs that are URLs: which are, where they lie, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from millstream.errors import UsageError
from millstream.store.place import SCHEMES, Remote, parse, service_of

Options = Mapping[str, object]

# What is on another machine. memory:// is of one process, and file:// needs no fetching.
_FETCHED = {scheme for scheme, service in SCHEMES.items() if service != "memory"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """The URL of an object. place: what `open_store` takes; key: of the object there.

    shown: the URL without what a stranger may not see, the login and the query.
    """

    service: str
    place: str = field(repr=False)
    key: str
    shown: str

    @property
    def name(self) -> str:
        """The last part of the key, which is the name of a file."""
        return self.key.rpartition("/")[2]


def as_url(value: Any) -> Url | None:
    """The object that a string is the URL of; None for anything else.

    A URL has a scheme that `open_store` knows, something after the bucket or the host, and no
    white space. Raises UsageError for one that cannot be.
    """
    if not isinstance(value, str):
        return None
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in _FETCHED or any(map(str.isspace, value)):
        return None
    remote = parse(value)
    if not isinstance(remote, Remote) or not remote.prefix or rest.endswith("/"):
        return None
    if remote.service == "http":
        return _web(value, remote)
    place = remote.base.removesuffix(f"/{remote.prefix}")
    return Url(service=remote.service, place=place, key=remote.prefix, shown=remote.base)


def _web(value: str, remote: Remote) -> Url:
    """A query is of this object alone; others of the host have one store together."""
    parts = urlsplit(value)
    place, key = f"{parts.scheme}://{parts.netloc}", remote.prefix
    if parts.query:
        folder, _, key = key.rpartition("/")
        place += f"/{folder}?{parts.query}" if folder else f"?{parts.query}"
    return Url(service="http", place=place, key=unquote(key), shown=remote.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """The storage_options of inputs: those of one service, the others have none."""

    service: str | None
    options: Options = field(repr=False)

    def of(self, url: Url) -> Options | None:
        """Those for a URL."""
        return self.options if url.service == self.service else None


def options_for(options: Options | None, output: str | None, inputs: Iterable[Any]) -> InputOptions:
    """Which of the places of a job have the storage_options: those of one service.

    output: the service of the output; None for a local one. Then it is that of the inputs, which
    have to agree; plain web servers count only if there is nothing else. So nobody is sent what
    was meant for another. Raises UsageError if it cannot be told.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if not given or output is not None:
        return InputOptions(service=output, options=given)
    services = {url.service for url in map(as_url, inputs) if url is not None}
    found = sorted(services - {"http"} or services)
    if len(found) != 1:
        text = f"the inputs lie in {', '.join(found)}" if found else "nothing here is in a bucket"
        raise UsageError(
            f"storage_options are for one service, and {text}; leave them out, or configure each "
            "cloud by its own files or variables"
        )
    return InputOptions(service=found[0], options=given)


def options_of_place(options: Options | None, output: str | None, place: str) -> Options | None:
    """The storage_options for a place that inputs are listed from."""
    return options if output in (None, service_of(place)) else None


def short(value: Any, most: int = 200) -> str:
    """A value for a message, in so many characters at most, without the secrets of a URL."""
    text = repr(_public(value))
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _public(value: Any) -> Any:
    try:
        url = as_url(value)
    except UsageError:
        return str(value).partition("?")[0].rpartition("@")[2]
    return value if url is None else url.shown
