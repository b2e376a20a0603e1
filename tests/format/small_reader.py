"""A reader of the format written from docs/format.md alone: struct, json, numpy, xxhash, blake3,
and zstandard.

It shares no code with the library, so the page is complete as long as this works.
"""

from __future__ import annotations

import json
import struct
from collections import namedtuple
from collections.abc import Callable
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from blake3 import blake3
from xxhash import xxh3_64_intdigest

Decrypt = Callable[[dict[str, Any], bytes, bytes], bytes]

STORED = {"bool": "|u1", "int": "<i8", "float": "<f8"}


class SmallChunk:
    """One chunk, every checksum compared.

    decrypt: undoes a filter that encrypts: (filter, what is stored, its associated data).
    """

    def __init__(self, content: bytes, decrypt: Decrypt | None = None) -> None:
        self.decrypt, self.place = decrypt, content[40:56] + content[32:40]
        magic, version, flags, length, size, self.rows = struct.unpack_from("<8sHHIQQ", content)
        (checksum,) = struct.unpack_from("<Q", content, 56)
        assert (magic, version, flags, size) == (b"MILLCHNK", 1, 0, len(content))
        header = content[64 : 64 + length]
        assert xxh3_64_intdigest(content[:56] + header) == checksum
        self.body = content[64 + length :]
        self.header = json.loads(header)
        self.zstd = zstandard.ZstdDecompressor()
        if whole := self.header.get("body"):
            assert xxh3_64_intdigest(self.body) == int(whole["sum"], 16)
            self.body = self.undone(self.body, whole["filters"], (1 << 64) - 1)
            assert len(self.body) == whole["raw"]
        if shared := self.header.get("dictionary"):
            data = self.span(shared["data"])
            assert [xxh3_64_intdigest(data)] == self.numbers(shared["sum"])
            dictionary = zstandard.ZstdCompressionDict(data)
            self.zstd_with = zstandard.ZstdDecompressor(dict_data=dictionary)
        self.tree = self.header["schema"]["tree"]
        self.fields = self.header["schema"]["fields"]

    def span(self, span: list[int]) -> bytes:
        return self.body[span[0] : span[0] + span[1]]

    def numbers(self, span: list[int]) -> list[int]:
        return np.frombuffer(self.span(span), "<u8").tolist()

    def undone(self, content: bytes, filters: list[dict[str, Any]], row: int = 0) -> bytes:
        for one in reversed(filters):
            if one["name"] != "zstd":
                assert self.decrypt is not None
                content = self.decrypt(one, content, self.place + row.to_bytes(8, "little"))
                continue
            content = (self.zstd_with if one.get("dictionary") else self.zstd).decompress(content)
        return content

    def pages(self, part: dict[str, Any], size: int, sums: list[int]) -> bytes:
        """The data of a part in pages of so many bytes."""
        data = self.span(part["data"])
        bounds = [*range(0, len(data), size), len(data)] if size else [0]
        if "filters" in part:
            bounds = self.numbers(part["frames"])
        pages = [data[a:b] for a, b in pairwise(bounds)]
        assert list(map(xxh3_64_intdigest, pages)) == sums
        raw = [self.undone(page, part.get("filters", [])) for page in pages]
        assert {len(page) for page in raw[:-1]} <= {size}
        return b"".join(raw)

    def samples(self) -> list[Any]:
        values: dict[int, list[Any]] = {}
        for column in self.header["columns"]:
            values[column["field"]] = self.column(column)
        for group in self.header["blobs"]:
            values.update(self.group(group))
        for column in self.header.get("tokens", []):
            values[column["field"]] = self.tokens(column)
        return [
            build(self.tree, iter([values[field][row] for field in range(len(self.fields))]))
            for row in range(self.rows)
        ]

    def column(self, column: dict[str, Any]) -> list[Any]:
        row = np.dtype(column["dtype"]).itemsize * prod(column["shape"])
        data = self.pages(column, column["page"] * row, self.numbers(column["sums"]))
        array = np.frombuffer(data, column["dtype"]).reshape(self.rows, *column["shape"])
        return [self.value(self.fields[column["field"]], row) for row in array]

    def run(self, part: dict[str, Any]) -> tuple[bytes, list[int]]:
        """The data of a part whose rows have offsets that are summed, and these."""
        first, *sums = self.numbers(part["sums"])
        assert xxh3_64_intdigest(self.span(part["offsets"])) == first
        data = self.pages(part, part["page"], sums)
        assert len(data) == part.get("raw", len(data))
        return data, self.numbers(part["offsets"])

    def tokens(self, column: dict[str, Any]) -> list[Any]:
        data, offsets = self.run(column)
        array = np.frombuffer(data, column["dtype"])
        return [array[a:b] for a, b in pairwise(offsets)]

    def blobs(self, group: dict[str, Any]) -> list[bytes]:
        if "page" in group:
            data, offsets = self.run(group)
            return [data[a:b] for a, b in pairwise(offsets)]
        data, offsets = self.span(group["data"]), self.numbers(group["offsets"])
        stored = [data[a:b] for a, b in pairwise(offsets)]
        assert list(map(xxh3_64_intdigest, stored)) == self.numbers(group["sums"])
        filters = group.get("filters", [])
        return [self.undone(blob, filters, row) for row, blob in enumerate(stored)]

    def group(self, group: dict[str, Any]) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {field: [] for field in group["fields"]}
        for blob in self.blobs(group):
            others = len(group["fields"]) - 1
            lengths = struct.unpack_from(f"<{others}Q", blob)
            at = 8 * others
            for field, length in zip(group["fields"], [*lengths, len(blob)], strict=True):
                found[field].append(self.payload(self.fields[field], blob[at : at + length]))
                at += length
        return found

    def payload(self, field: dict[str, Any], payload: bytes) -> Any:
        if field["kind"] == "str":
            return payload.decode()
        if field["kind"] == "json":
            return from_json(json.loads(payload))
        if field["kind"] in ("audio", "video"):  # whose dtype is the container
            return payload
        if "dtype" in field or field["kind"] in STORED:
            (rank,) = struct.unpack_from("<Q", payload)
            shape = struct.unpack_from(f"<{rank}Q", payload, 8)
            stored = np.dtype(STORED.get(field["kind"], field.get("dtype")))
            array = np.frombuffer(payload[8 + 8 * rank :], stored).reshape(shape)
            return self.value(field, array)
        return payload

    def value(self, field: dict[str, Any], array: Any) -> Any:
        if field["kind"] == "bool":
            return bool(array)
        if field["kind"] in ("int", "float"):
            return array.item()
        return array[()] if field["kind"] == "scalar" else np.array(array, field["dtype"])


def build(node: Any, leaves: Any) -> Any:
    if node is None:
        return None
    if node == 0:
        return next(leaves)
    if "dict" in node:
        return {key: build(child, leaves) for key, child in node["dict"]}
    if "list" in node:
        return [build(child, leaves) for child in node["list"]]
    if "tuple" in node:
        return tuple([build(child, leaves) for child in node["tuple"]])
    items = [build(child, leaves) for child in node["items"]]
    return namedtuple(node["namedtuple"], node["fields"])(*items)


def from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["()"]:
        return tuple(from_json(item) for item in value["()"])
    if list(value) == ["{}"]:
        return {key: from_json(item) for key, item in value["{}"]}
    return {key: from_json(item) for key, item in value.items()}


def small_dataset(folder: Path, decrypt: Decrypt | None = None) -> list[Any]:
    """All samples of the newest version in a folder."""
    version = int((folder / "latest").read_text())
    while (folder / f"versions/{version + 1:012}").exists():
        version += 1
    content = (folder / f"versions/{version:012}").read_bytes()
    found = small_manifest(content)
    samples: list[Any] = []
    for digest, size, rows, tokens in zip(
        found["digests"], found["sizes"], found["rows"], found["tokens"], strict=True
    ):
        data = (folder / "chunks" / digest.hex()).read_bytes()
        assert blake3(data).digest() == digest
        assert len(data) == size
        made = SmallChunk(data, decrypt).samples()
        assert len(made) == rows
        assert not tokens or sum(map(len, made)) == tokens
        samples += made
    assert len(samples) == found["head"]["rows"]
    return samples


def small_manifest(content: bytes) -> dict[str, Any]:
    """The head of a manifest and its tables; tokens are 0 where there is no table of them."""
    magic, form, flags, length, size, count, checksum = struct.unpack_from("<8sHHIQQQ", content)
    assert (magic, form, flags, size) == (b"MILLMANI", 1, 0, len(content))
    assert xxh3_64_intdigest(content[64:]) == checksum
    head, at = json.loads(content[64 : 64 + length]), 64 + length
    digests, has_tokens = content[at + 16 * count :], "tokens" in head
    tokens = np.zeros(count, "<u8")
    if has_tokens:
        tokens = np.frombuffer(content, "<u8", count, at + 48 * count)
        assert tokens.sum() == head["tokens"]
    assert len(content) == at + (56 if has_tokens else 48) * count
    return {
        "head": head,
        "sizes": np.frombuffer(content, "<u8", count, at),
        "rows": np.frombuffer(content, "<u4", count, at + 8 * count),
        "digests": [digests[32 * n : 32 * n + 32] for n in range(count)],
        "tokens": tokens,
    }
