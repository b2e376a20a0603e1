"""The batch of a step, wherever it is made."""

from __future__ import annotations

from pathlib import Path

from scripts import start

import millstream as ms


def test_batches_are_made_without_torch(tmp_path: Path) -> None:
    ms.optimize(
        lambda i: {"id": i, "text": str(i)}, range(20), tmp_path / "d", num_workers=0, verbose=False
    )
    process = start(
        """
        import pickle
        import sys
        import numpy as np
        import millstream as ms
        from millstream.reading.dataset import stream_of
        from millstream.reading.run import Run, Shape
        from millstream.reading.steps import Maker, Steps, WorkerStart

        dataset = ms.StreamingDataset(sys.argv[1])
        shape = Shape(batch_size=8, ranks=1, drop_last=False)
        run = Run(stream_of(dataset), shape, 0)
        maker = Maker(dataset=dataset, rank=0, seed=1, collate_fn=None)
        begin = WorkerStart(
            maker=maker, shape=shape, shuffle=None, settings=run.order.settings(), workers=1,
            init_fn=None,
        )
        work = pickle.loads(pickle.dumps(begin))(0)
        (made,) = work(Steps(epoch=0, start=0, first=1), np.empty)
        print(made.batch["id"].array.tolist(), made.batch["text"], len(made.taken))
        print(sorted({"torch", "PIL", "millstream.torch"} & set(sys.modules)))
        """,
        tmp_path / "d",
    )
    out, err = process.communicate()
    ids = list(range(8, 16))
    assert (out, err) == (f"{ids} {[str(i) for i in ids]} 8\n[]\n", "")
