"""Training as users of Lightning, Fabric and Accelerate write it: a loader, and nothing around it.

Run as a script it is a user's own, which Lightning starts again for the second rank.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from accelerate import Accelerator, skip_first_batches
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import ModelCheckpoint
from ranked_data import numbers, opened
from torch.utils.data import DataLoader

import millstream as ms


class Model(lightning.LightningModule):
    """Notes what it is trained on, by epoch and batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[Any] = []
        self.validated: list[int] = []
        self.reports: list[str] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.seen.append([self.current_epoch, index, numbers(batch)])
        return self.layer(batch["id"].float()[:, None]).mean()

    def on_train_epoch_end(self) -> None:
        report = self.trainer.train_dataloader.coverage_of_all()
        self.reports.append(f"{report.epoch}: {report.start} to {report.stop}, {report.exact}")

    def validation_step(self, batch: Any, index: int) -> None:
        self.validated += numbers(batch)

    def predict_step(self, batch: Any, index: int) -> list[int]:
        return [i for i, again in zip(numbers(batch), batch["again"], strict=True) if not again]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


class Saves(lightning.Callback):
    """A checkpoint after every validation and every epoch."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.root / f"validated-{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        trainer.save_checkpoint(self.root / f"end-{trainer.current_epoch}.ckpt")


def fit(place: str, root: str, checkpoint: str | None = None, **options: Any) -> dict[str, Any]:
    """One Trainer.fit, with a checkpoint every 7 steps, and after epochs and validations."""
    train = ms.StreamingDataLoader(opened(place), batch_size=10, num_workers=1)
    held_out = opened(place, shuffle=False, drop_last=False)
    model = Model()
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=root,
        callbacks=[
            ModelCheckpoint(root, "middle-{step}", save_top_k=-1, every_n_train_steps=7),
            Saves(root),
        ],
        **options,
    )  # fmt: skip
    path = None if checkpoint is None else str(Path(root) / checkpoint)
    validation = ms.StreamingDataLoader(held_out, batch_size=30)
    trainer.fit(model, train, validation, ckpt_path=path, weights_only=True)
    return {"seen": model.seen, "reports": model.reports, "validated": sorted(model.validated)}


def fits(place: str, root: str, runs: list[dict[str, Any]]) -> list[Any]:
    """Several of them, one after another; and what Trainer.predict is given."""
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=root,
    )  # fmt: skip
    shares = opened(place, shuffle=None, drop_last=False)
    loader = ms.StreamingDataLoader(shares, batch_size=30, shuffle=True, pad="again")
    return [*(fit(place, root, **run) for run in runs), trainer.predict(Model(), loader)]


def fabric(place: str, root: str) -> dict[str, Any]:
    """Two epochs, with a checkpoint in the middle of the second; then what comes after it."""
    whole, saved = [], str(Path(root) / "fabric.ckpt")
    run = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    run.launch()
    loader = ms.StreamingDataLoader(opened(place), batch_size=10)
    prepared = run.setup_dataloaders(loader)
    for epoch in range(3):
        for step, batch in enumerate(prepared):
            whole.append(numbers(batch))
            if (epoch, step) == (1, 4):
                run.save(saved, {"loader": loader})
        assert loader.coverage_of_all().exact
    again = ms.StreamingDataLoader(opened(place), batch_size=10)
    run.load(saved, {"loader": again})
    prepared = run.setup_dataloaders(again)
    rest = [numbers(batch) for _ in range(2) for batch in prepared]
    return {"whole": whole, "rest": rest, "exact": again.coverage_of_all().exact}


def accelerate(place: str, root: str) -> dict[str, Any]:
    """The same with Accelerate; and a dataset that it wraps in a loader of its own."""
    run = Accelerator(cpu=True)
    dataset = opened(place)
    plain: Any = DataLoader(dataset, batch_size=10)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    loader = ms.StreamingDataLoader(dataset, batch_size=10)
    model, optimizer, prepared = run.prepare(model, optimizer, loader)
    whole, saved = [], str(Path(root) / "accelerate")
    for epoch in range(3):
        for step, batch in enumerate(prepared):
            run.backward(model(batch["id"].float()[:, None]).mean())
            optimizer.step()
            whole.append(numbers(batch))
            if (epoch, step) == (1, 4):
                run.save_state(saved)
        assert loader.coverage_of_all().exact
    run.load_state(saved)
    rest = [numbers(batch) for _ in range(2) for batch in prepared]
    refused = []
    for wrapped in (run.prepare(plain), skip_first_batches(loader, 2)):
        try:
            next(iter(wrapped))
            refused.append("")
        except ms.errors.UsageError as error:
            refused.append(str(error))
    return {
        "same": prepared is loader,
        "processes": run.num_processes,
        "whole": whole,
        "rest": rest,
        "exact": loader.coverage_of_all().exact,
        "refused": refused,
    }


if __name__ == "__main__":
    place, root = sys.argv[1:]
    result = fit(place, root, max_epochs=2)
    rank = torch.distributed.get_rank()
    Path(root, f"rank-{rank}.json").write_text(json.dumps(result))
