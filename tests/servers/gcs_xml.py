"""Google Cloud Storage's XML API in terms of its JSON API, where fake-gcs-server lacks it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import quote, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from servers.answering import Answer
from servers.process import HOST

XML = "application/xml"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


def xml(text: str, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
    return Answer(status=status, body=body, headers={"Content-Type": XML, **(headers or {})})


def problem(status: int, code: str, message: str = "") -> Answer:
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return xml(text, status=status)


@dataclass(slots=True, kw_only=True)
class Upload:
    """A multipart upload under way: its parts by number."""

    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


class Upstream:
    """fake-gcs-server, on one connection a thread."""

    def __init__(self, port: int) -> None:
        self.authority = f"{HOST}:{port}"
        self._local = threading.local()

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """target: encoded path and query."""
        connection: HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = HTTPConnection(self.authority)
        connection.request(method, target, body, {**(headers or {}), "Host": self.authority})
        response = connection.getresponse()
        content = response.read()
        kept = {k: v for k, v in response.getheaders() if k.lower() not in HOP_BY_HOP}
        if method == "HEAD" and (length := response.getheader("Content-Length")):
            kept["Content-Length"] = length
        return Answer(status=response.status, body=content, headers=kept)


class Objects:
    """What the XML API does, in terms of the JSON API."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._uploads: dict[str, Upload] = {}

    def insert(
        self, bucket: str, key: str, content: bytes, content_type: str, generation: str | None
    ) -> Answer:
        # uploadType=media would ignore the generation.
        query = {"uploadType": "multipart"} | _condition(generation)
        border = uuid.uuid4().hex
        named = json.dumps({"name": key, "contentType": content_type})
        head = (
            f"--{border}\r\nContent-Type: application/json\r\n\r\n{named}\r\n"
            f"--{border}\r\nContent-Type: {content_type}\r\n\r\n"
        )
        done = self._upstream.ask(
            "POST",
            f"/upload/storage/v1/b/{_quoted(bucket)}/o?{urlencode(query)}",
            head.encode() + content + f"\r\n--{border}--\r\n".encode(),
            {"Content-Type": f"multipart/related; boundary={border}"},
        )
        if done.status >= 300:
            return _refusal(done)
        made = json.loads(done.body)
        etag = f'"{made["etag"].strip(chr(34))}"'
        return Answer(headers={"ETag": etag, "x-goog-generation": str(made["generation"])})

    def copy(self, source: str, bucket: str, key: str, generation: str | None) -> Answer:
        """source: BUCKET/KEY, decoded."""
        from_bucket, _, from_key = source.partition("/")
        target = _path(bucket, key).removeprefix("/storage/v1")
        condition = urlencode(_condition(generation))
        done = self._upstream.ask(
            "POST", f"{_path(from_bucket, from_key)}/rewriteTo{target}?{condition}"
        )
        return _refusal(done) if done.status >= 300 else xml("<CopyObjectResult/>")

    def delete(self, bucket: str, key: str) -> Answer:
        done = self._upstream.ask("DELETE", _path(bucket, key))
        return _refusal(done) if done.status >= 300 else Answer(status=204)

    def begin_upload(self, bucket: str, key: str, content_type: str) -> Answer:
        name = uuid.uuid4().hex
        self._uploads[name] = Upload(content_type=content_type)
        return xml(
            f"<InitiateMultipartUploadResult><Bucket>{escape(bucket)}</Bucket>"
            f"<Key>{escape(key)}</Key><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
        )

    def put_part(self, name: str, number: int, content: bytes) -> Answer:
        if name not in self._uploads:
            return problem(404, "NoSuchUpload")
        self._uploads[name].parts[number] = content
        return Answer(headers={"ETag": f'"{name}-{number}"'})

    def end_upload(
        self, bucket: str, key: str, name: str, told: bytes, generation: str | None
    ) -> Answer:
        """told: the XML that lists the parts in their order."""
        upload = self._uploads.pop(name, None)
        if upload is None:
            return problem(404, "NoSuchUpload")
        elements = ElementTree.fromstring(told).iter()
        order = [int(e.text or "") for e in elements if e.tag.rpartition("}")[2] == "PartNumber"]
        content = b"".join(upload.parts[number] for number in order)
        made = self.insert(bucket, key, content, upload.content_type, generation)
        if made.status >= 300:
            return made
        etag = escape(made.headers["ETag"], {'"': "&quot;"})
        text = f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        return xml(text, made.headers)

    def abort_upload(self, name: str) -> Answer:
        self._uploads.pop(name, None)
        return Answer(status=204)

    def listing(self, bucket: str, query: Mapping[str, str]) -> Answer:
        """A page of a version 2 listing, in the order of bytes; its token is the last name."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after") or ""
        limit = int(query.get("max-keys", 1000))
        told = self._all(bucket, prefix, delimiter)
        if told is None:
            return problem(404, "NoSuchBucket")
        rest = sorted((n for n in told if n > after), key=lambda name: name.encode())
        page = rest[:limit]
        more = len(rest) > limit
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        entries = "".join(_entry(name, told[name]) for name in page)
        return xml(
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}"
            "</ListBucketResult>"
        )

    def _all(
        self, bucket: str, prefix: str, delimiter: str
    ) -> dict[str, Mapping[str, str] | None] | None:
        """Every object, and None for each common prefix; None for a bucket that is not there."""
        found: dict[str, Mapping[str, str] | None] = {}
        query = {"prefix": prefix, "delimiter": delimiter, "maxResults": "1000"}
        while True:
            target = f"/storage/v1/b/{_quoted(bucket)}/o?{urlencode(query)}"
            told = self._upstream.ask("GET", target)
            if told.status >= 300:
                return None
            page = json.loads(told.body)
            found |= {item["name"]: item for item in page.get("items", [])}
            found |= dict.fromkeys(page.get("prefixes", []))
            if "nextPageToken" not in page:
                return found
            query["pageToken"] = page["nextPageToken"]


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _path(bucket: str, key: str) -> str:
    return f"/storage/v1/b/{_quoted(bucket)}/o/{_quoted(key)}"


def _condition(generation: str | None) -> dict[str, str]:
    return {} if generation is None else {"ifGenerationMatch": generation}


def _refusal(told: Answer) -> Answer:
    codes = {404: "NoSuchKey", 412: "PreconditionFailed"}
    return problem(told.status, codes.get(told.status, "InternalError"), told.body.decode())


def _entry(name: str, item: Mapping[str, str] | None) -> str:
    if item is None:
        return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
    return (
        f"<Contents><Key>{escape(name)}</Key><Generation>{item['generation']}</Generation>"
        f"<LastModified>{item['updated']}</LastModified>"
        f"<ETag>&quot;{item['etag'].strip(chr(34))}&quot;</ETag><Size>{item['size']}</Size></Contents>"
    )
