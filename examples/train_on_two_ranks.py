"""Two processes train together and stop in the middle of an epoch; one goes on with just the samples that are left."""

import itertools
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.distributed

import mmap_ninja as mn
from mmap_ninja.integrations.torch import Loader

COUNT, BATCH, STOP = 1000, 10, 30
SPAWN = multiprocessing.get_context("spawn")


def train(rank: int, folder: str, world_size: int, stop: int | None) -> None:
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting-{world_size}", rank=rank, world_size=world_size
    )
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = Loader(mn.open(f"{folder}/dataset"), BATCH, shuffle=True)  # its rank is that of torch.distributed
    checkpoint = Path(folder, "checkpoint.pt")
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.module.load_state_dict(state["model"])
        loader.load_state_dict(state["loader"])
    seen: list[int] = []
    for step, batch in enumerate(loader, 1):
        model(batch["x"]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        seen += batch["number"].tolist()
        if step == stop:
            break
    if rank == 0 and stop:
        torch.save({"model": model.module.state_dict(), "loader": loader.state_dict()}, checkpoint)
    torch.save(seen, f"{folder}/seen-{rank}-of-{world_size}.pt")
    torch.distributed.destroy_process_group()


def run(folder: str, world_size: int, stop: int | None) -> None:
    ranks = [SPAWN.Process(target=train, args=(rank, folder, world_size, stop)) for rank in range(world_size)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a rank ended with {process.exitcode}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        columns: dict[str, mn.Scalar | mn.Array] = {"number": mn.Scalar(np.int64), "x": mn.Array((8,), np.float32)}
        samples = ({"number": k, "x": np.full(8, k / COUNT, np.float32)} for k in range(COUNT))
        mn.RecordsMmap.from_generator(f"{folder}/dataset", samples, columns=columns, verbose=False)
        run(folder, 2, STOP)
        run(folder, 1, None)
        parts = [torch.load(f"{folder}/seen-{name}.pt") for name in ("0-of-2", "1-of-2", "0-of-1")]
        print("two ranks saw", len(parts[0]), "and", len(parts[1]), "samples, then one saw", len(parts[2]))
        print("each sample once:", sorted(itertools.chain.from_iterable(parts)) == list(range(COUNT)))


if __name__ == "__main__":
    main()
