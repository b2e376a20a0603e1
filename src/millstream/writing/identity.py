"""What makes two jobs the same: the ordered inputs, the function, the settings that shape bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from blake3 import blake3

from millstream.errors import UsageError
from millstream.writing.function import FunctionKey, function_key
from millstream.writing.inputs import InputsKey, inputs_key

# append: the rows of the newest version, and then the new ones. overwrite: the new ones alone.
Mode = Literal["append", "overwrite"]


def check_mode(mode: object) -> None:
    """Raises UsageError for what is no mode."""
    if mode not in (None, "append", "overwrite"):
        raise UsageError(f'mode is {mode!r}, expected "append", "overwrite" or None')


@dataclass(frozen=True, slots=True)
class Noted:
    """What a job has noted of its inputs, or of its function."""

    noted: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """As it was noted."""
        return self.noted

    def differences(self, then: dict[str, Any], details: Any) -> list[str]:
        """Few words."""
        return [] if then == self.noted else ["its inputs or its function"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKey:
    """settings: what else shapes the bytes, as JSON values."""

    inputs: InputsKey | Noted
    function: FunctionKey | Noted
    settings: dict[str, Any]

    @property
    def mode(self) -> Mode | None:
        """What the job does to the dataset that is there; None for the first version."""
        found: Mode | None = self.settings.get("mode")
        return found

    @staticmethod
    def noted(summary: Mapping[str, Any]) -> JobKey:
        """The key of a job that is there, from its summary."""
        return JobKey(
            inputs=Noted(summary["inputs"]),
            function=Noted(summary["function"]),
            settings=summary["settings"],
        )

    def to_json(self, notes: Mapping[str, Any]) -> bytes:
        """What a job that begins writes down: its summary, what tells later how another differs,
        and `notes`."""
        details = {} if isinstance(self.function, Noted) else self.function.details()
        job = {"job": self.summary(), "function": details, **({"notes": notes} if notes else {})}
        return json.dumps(job).encode()

    def summary(self) -> dict[str, Any]:
        """What tells it from another job, as JSON values."""
        return {
            "inputs": self.inputs.summary(),
            "function": self.function.summary(),
            "settings": self.settings,
        }

    def digest(self) -> bytes:
        """16 bytes that name the job."""
        return blake3(json.dumps(self.summary(), sort_keys=True).encode()).digest(16)

    def differences(
        self,
        then: dict[str, Any],
        function: dict[str, Any] | None = None,
        inputs: bytes | None = None,
    ) -> list[str]:
        """What differs from the summary of another job, in words.

        function, inputs: its `details` and `to_bytes`, without which the words are few.
        """
        found = self.function.differences(then["function"], function)
        found += self.inputs.differences(then["inputs"], inputs)
        now, before = self.settings, then["settings"]
        return found + [
            f"{name} (now {now.get(name)!r}, then {before.get(name)!r})"
            for name in sorted({*now, *before})
            if now.get(name) != before.get(name)
        ]


def job_key(fn: Callable[..., Any], inputs: Sequence[Any], settings: dict[str, Any]) -> JobKey:
    """The key of a job; raises NotPicklable for an input that has no canonical bytes."""
    return JobKey(inputs=inputs_key(inputs), function=function_key(fn), settings=settings)
