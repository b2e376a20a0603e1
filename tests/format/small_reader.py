"""A reader of the format written from docs/format.md alone: struct, json, numpy, xxhash, blake3.

It shares no code with the library, so the page is complete as long as this works.
"""

from __future__ import annotations

import json
import struct
from collections import namedtuple
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from xxhash import xxh3_64_intdigest

STORED = {"bool": "|u1", "int": "<i8", "float": "<f8"}


class SmallChunk:
    """One chunk, every checksum compared."""

    def __init__(self, content: bytes) -> None:
        magic, version, flags, length, size, self.rows = struct.unpack_from("<8sHHIQQ", content)
        (checksum,) = struct.unpack_from("<Q", content, 56)
        assert (magic, version, flags, size) == (b"MILLCHNK", 0, 0, len(content))
        header = content[64 : 64 + length]
        assert xxh3_64_intdigest(content[:56] + header) == checksum
        self.body = content[64 + length :]
        self.header = json.loads(header)
        self.tree = self.header["schema"]["tree"]
        self.fields = self.header["schema"]["fields"]

    def span(self, span: list[int]) -> bytes:
        return self.body[span[0] : span[0] + span[1]]

    def numbers(self, span: list[int]) -> list[int]:
        return np.frombuffer(self.span(span), "<u8").tolist()

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
        data = self.span(column["data"])
        array = np.frombuffer(data, column["dtype"]).reshape(self.rows, *column["shape"])
        if data:
            step = column["page"] * (len(data) // self.rows)
            pages = [data[at : at + step] for at in range(0, len(data), step)]
            assert list(map(xxh3_64_intdigest, pages)) == self.numbers(column["sums"])
        return [self.value(self.fields[column["field"]], row) for row in array]

    def tokens(self, column: dict[str, Any]) -> list[Any]:
        data, offsets = self.span(column["data"]), self.numbers(column["offsets"])
        pages = [data[at : at + column["page"]] for at in range(0, len(data), column["page"])]
        summed = [self.span(column["offsets"]), *pages]
        assert list(map(xxh3_64_intdigest, summed)) == self.numbers(column["sums"])
        array = np.frombuffer(data, column["dtype"])
        return [array[a:b] for a, b in pairwise(offsets)]

    def group(self, group: dict[str, Any]) -> dict[int, list[Any]]:
        data, offsets = self.span(group["data"]), self.numbers(group["offsets"])
        found: dict[int, list[Any]] = {field: [] for field in group["fields"]}
        for row, checksum in enumerate(self.numbers(group["sums"])):
            blob = data[offsets[row] : offsets[row + 1]]
            assert xxh3_64_intdigest(blob) == checksum
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
        if field["kind"] in ("ndarray", "tensor"):
            (rank,) = struct.unpack_from("<Q", payload)
            shape = struct.unpack_from(f"<{rank}Q", payload, 8)
            return np.frombuffer(payload[8 + 8 * rank :], field["dtype"]).reshape(shape)
        return payload

    def value(self, field: dict[str, Any], array: Any) -> Any:
        if field["kind"] == "bool":
            return bool(array)
        if field["kind"] in ("int", "float"):
            return array.item()
        return array if field["kind"] == "scalar" else np.array(array, field["dtype"])


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


def small_dataset(folder: Path) -> list[Any]:
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
        made = SmallChunk(data).samples()
        assert len(made) == rows
        assert not tokens or sum(map(len, made)) == tokens
        samples += made
    assert len(samples) == found["head"]["rows"]
    return samples


def small_manifest(content: bytes) -> dict[str, Any]:
    """The head of a manifest and its tables; tokens are 0 where there is no table of them."""
    magic, form, flags, length, size, count, checksum = struct.unpack_from("<8sHHIQQQ", content)
    assert (magic, form, flags, size) == (b"MILLMANI", 0, 0, len(content))
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
