"""Our dataset in torch's own DataLoader."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from peers import ours


class Driver:
    """See peers/__init__.py; how the datasets are opened is in ours.py."""

    def __init__(self) -> None:
        driver = ours.Driver()
        driver.loader = self.loader
        self.import_for = driver.import_for
        self.images, self.pixels = driver.images, driver.pixels
        self.tokens, self.small = driver.tokens, driver.small
        self.remote_images = driver.remote_images

    def loader(self, dataset: Any, batch: int, workers: int) -> Any:
        return DataLoader(
            dataset, batch_size=batch, num_workers=workers, persistent_workers=workers > 0
        )
