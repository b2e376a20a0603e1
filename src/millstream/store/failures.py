"""What went wrong with a request, read from what the client says of it, and what to do about it.

obstore tells most failures apart only in the text of its errors; all reading of that text is here.
A server's answer may repeat secrets, and URLs may hold some, so that only its code and the first
line of its message are passed on, and of URLs only the host.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit


class Kind(Enum):
    """What kind of failure it is; the value says it in a sentence."""

    MISSING = "there is no such object"
    NO_BUCKET = "the bucket does not exist"
    EXISTS = "the object exists"
    DENIED = "the server refuses"
    CLOCK = "the server refuses because this machine's clock is wrong"
    NO_CREDENTIALS = "no credentials were found"
    REGION = "the bucket is in another region"
    CERTIFICATE = "the server's certificate is not trusted"
    PLAIN_HTTP = "the server redirects to an address without TLS"
    NO_RANGES = "the server ignores ranges"
    BEYOND = "the object ends before the bytes that were asked for"
    UNSUPPORTED = "the server cannot do that"
    THROTTLED = "the server says that there are too many requests"
    SERVER = "the server failed"
    CONNECT = "no connection"
    TIMEOUT = "no byte came for too long"
    CUT = "the connection broke"
    OTHER = "the request failed"


PASSING = {Kind.THROTTLED, Kind.SERVER, Kind.CONNECT, Kind.TIMEOUT, Kind.CUT}
# obstore does not tell what Retry-After said. Asking again after a second at the earliest, and less
# and less often, comes late enough for nearly all; who says more than that is asked in vain a few
# times, which the number of attempts allows for.
THROTTLED_WAIT = 1.0

_CODES = {
    "NoSuchBucket": Kind.NO_BUCKET,
    "ContainerNotFound": Kind.NO_BUCKET,
    "RequestTimeTooSkewed": Kind.CLOCK,
    "PermanentRedirect": Kind.REGION,
    "AuthorizationHeaderMalformed": Kind.REGION,
    "IllegalLocationConstraintException": Kind.REGION,
    "ExpiredToken": Kind.DENIED,
    "InvalidToken": Kind.DENIED,
    "TokenRefreshRequired": Kind.DENIED,
    "RequestTimeout": Kind.TIMEOUT,
    "SlowDown": Kind.THROTTLED,
    "NotImplemented": Kind.UNSUPPORTED,
    # Another conditional write to this key is under way, and may yet fail.
    "ConditionalRequestConflict": Kind.SERVER,
}
_STATUSES = {
    401: Kind.DENIED,
    403: Kind.DENIED,
    404: Kind.MISSING,
    408: Kind.TIMEOUT,
    409: Kind.EXISTS,
    412: Kind.EXISTS,
    416: Kind.BEYOND,
    425: Kind.SERVER,
    429: Kind.THROTTLED,
    501: Kind.UNSUPPORTED,
}
_DEBUG = "\n\nDebug source:"
# In the order in which they are looked for in the client's own description.
_SIGNS = [
    (r"Wanted range starting at", Kind.BEYOND),
    (r"BareRedirect", Kind.REGION),
    (r"BadScheme", Kind.PLAIN_HTTP),
    (r"NotPartial|RangeNotSupported", Kind.NO_RANGES),
    (r"InvalidCertificate|UnknownIssuer|invalid peer certificate", Kind.CERTIFICATE),
    (r"169\.254\.\d+\.\d+|metadata\.google\.internal", Kind.NO_CREDENTIALS),
    (r"kind: Timeout|TimedOut", Kind.TIMEOUT),
    (r"kind: Connect\b", Kind.CONNECT),
    (r"HttpError|reqwest::Error|UnexpectedRange|kind: Interrupted", Kind.CUT),
]
_CLASSES = {
    "AlreadyExistsError": Kind.EXISTS,
    "PreconditionError": Kind.EXISTS,
    "PermissionDeniedError": Kind.DENIED,
    "UnauthenticatedError": Kind.DENIED,
    "FileNotFoundError": Kind.MISSING,
    "NotSupportedError": Kind.UNSUPPORTED,
    "NotImplementedError": Kind.UNSUPPORTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailure:
    """A request that failed. said: the server's or the client's own words, with no secrets.

    final: the client has already tried as often as it may.
    """

    kind: Kind
    said: str = ""
    host: str = ""
    least_wait: float = 0.0
    final: bool = False

    @property
    def again(self) -> bool:
        """Whether it may go well another time."""
        return self.kind in PASSING and not self.final

    @property
    def passing(self) -> bool:
        """Whether it is the kind that goes by, even if it was waited for in vain."""
        return self.kind in PASSING

    def __str__(self) -> str:
        where = f" to {self.host}" if self.host and self.kind is Kind.CONNECT else ""
        return f"{self.kind.value}{where}" + (f" ({self.said})" if self.said else "")


def from_client(error: Exception) -> RequestFailure:
    """What an obstore error means."""
    text, _, debug = str(error).partition(_DEBUG)
    status = re.search(r"status code: (\d{3})[^:\n]*:? ?(.*)", text, re.DOTALL)
    code, message = _answer(status[2]) if status else ("", "")
    kind = _CODES.get(code)
    if kind is None and status:
        kind = from_status(int(status[1]))
        kind = Kind.NO_CREDENTIALS if _asks_machine(text) and kind not in PASSING else kind
    if kind is None:
        kind = next((kind for sign, kind in _SIGNS if re.search(sign, text + debug)), None)
    if kind is None:
        kind = _CLASSES.get(type(error).__name__, Kind.OTHER)
    return RequestFailure(
        kind=kind,
        said=_joined(f"HTTP {status[1]}" if status else _words(kind, debug, text), code, message),
        host=_host(text),
        least_wait=THROTTLED_WAIT if kind is Kind.THROTTLED else 0.0,
        final=bool(re.search(r"after [1-9]\d* retries", text)),
    )


def from_status(status: int) -> Kind:
    """What an HTTP status means by itself."""
    return _STATUSES.get(status, Kind.SERVER if status >= 500 else Kind.OTHER)


def _asks_machine(text: str) -> bool:
    """Whether the request was one for credentials, to the service that clouds' machines have."""
    return "169.254." in text or "metadata.google.internal" in text


def _answer(body: str) -> tuple[str, str]:
    """Code and first line of the message in an XML or JSON answer."""
    code = re.search(r"<Code>([\w.-]{1,80})</Code>", body)
    message = re.search(r"<Message>([^<\n]{1,200})", body)
    if code or message:
        return code[1] if code else "", message[1] if message else ""
    try:
        said = json.loads(body)["error"]
    except (ValueError, TypeError, LookupError):
        return "", ""
    said = said.get("message", "") if isinstance(said, dict) else said
    return "", str(said).partition("\n")[0][:200]


def _words(kind: Kind, debug: str, text: str) -> str:
    if kind in (Kind.CONNECT, Kind.CUT):
        system = re.findall(r'message: "([^"\n]{1,200})"', debug)
        return system[-1] if system else "name not found" if "dns error" in debug else ""
    if kind is not Kind.OTHER:
        return ""
    return re.sub(r"\S+://\S+", "...", text.partition("\n")[0])[:300]


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _host(text: str) -> str:
    url = re.search(r"performing [A-Z]+ (\S+?://\S+)", text)
    return urlsplit(url[1]).netloc.rpartition("@")[2] if url else ""
