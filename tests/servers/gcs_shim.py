"""Stands in front of fake-gcs-server: checks the bearer token and answers the XML API.

python -m servers.gcs_shim UPSTREAM_PORT TOKEN. Puts (with x-goog-if-generation-match), multipart
uploads, copies, deletes, listings in pages, If-Match and If-None-Match are answered here; the rest
is passed on. A request without a token gets 401, with another one 403.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from urllib.parse import unquote

from servers.answering import Answer, Asked, run
from servers.gcs_xml import HOP_BY_HOP, Objects, Upstream, problem

JSON_API = ("/storage/", "/upload/", "/download/", "/_internal")
DEFAULT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    upstream: Upstream
    objects: Objects
    token: str

    def reply(self, asked: Asked) -> Answer:
        told = asked.headers.get("Authorization")
        if told != f"Bearer {self.token}":
            return problem(403 if told else 401, "AccessDenied", "the bearer token is not known")
        if asked.path.startswith(JSON_API):
            return self._pass_on(asked)
        bucket, _, key = asked.path.removeprefix("/").partition("/")
        if asked.method in ("GET", "HEAD"):
            return self._read(asked, bucket, key)
        if not key:
            return problem(405, "MethodNotAllowed")
        return self._write(asked, bucket, key)

    def _read(self, asked: Asked, bucket: str, key: str) -> Answer:
        if not key and asked.query.get("list-type") == "2":
            return self.objects.listing(bucket, asked.query)
        match, none_match = asked.headers.get("If-Match"), asked.headers.get("If-None-Match")
        if key and (match or none_match):
            found = self.upstream.ask("HEAD", asked.target)
            etag = found.headers.get("ETag")
            if found.status == 200 and none_match in (etag, "*"):
                return Answer(status=304, headers={"ETag": etag or ""})
            if found.status == 200 and match and match not in (etag, "*"):
                return problem(412, "PreconditionFailed")
        return self._pass_on(asked)

    def _write(self, asked: Asked, bucket: str, key: str) -> Answer:
        query, body = asked.query, asked.body
        generation = asked.headers.get("x-goog-if-generation-match")
        content_type = asked.headers.get("Content-Type", DEFAULT_TYPE)
        source = asked.headers.get("x-goog-copy-source")
        upload = query.get("uploadId", "")
        match asked.method:
            case "PUT" if upload:
                return self.objects.put_part(upload, int(query["partNumber"]), body)
            case "PUT" if source:
                source = unquote(source).removeprefix("/")
                return self.objects.copy(source, bucket, key, generation)
            case "PUT":
                return self.objects.insert(bucket, key, body, content_type, generation)
            case "POST" if "uploads" in query:
                return self.objects.begin_upload(bucket, key, content_type)
            case "POST" if upload:
                return self.objects.end_upload(bucket, key, upload, body, generation)
            case "DELETE" if upload:
                return self.objects.abort_upload(upload)
            case "DELETE":
                return self.objects.delete(bucket, key)
        return problem(405, "MethodNotAllowed")

    def _pass_on(self, asked: Asked) -> Answer:
        left_out = HOP_BY_HOP | {"host", "authorization"}
        headers = {k: v for k, v in asked.headers.items() if k.lower() not in left_out}
        return self.upstream.ask(asked.method, asked.target, asked.body, headers)


if __name__ == "__main__":
    upstream = Upstream(int(sys.argv[1]))
    run(Shim(upstream=upstream, objects=Objects(upstream), token=sys.argv[2]).reply)
