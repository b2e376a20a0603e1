"""What all ranks report, on each of them."""

from __future__ import annotations

import torch.distributed

from millstream.errors import UsageError
from millstream.plan import CoverageReport


def gathered(own: CoverageReport) -> list[CoverageReport]:
    """The reports of all processes of torch.distributed, which all have to call this."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        found: list[CoverageReport | None] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(found, own)
        return [report for report in found if report is not None]
    if own.ranks == 1:
        return [own]
    raise UsageError(
        f"torch.distributed is not initialized, which would gather the coverage of {own.ranks} "
        "ranks; bring their reports together otherwise, and call report.combined(reports)"
    )
