"""A small language model of bytes, on packed documents; it can be killed at any time, and goes on where it was.

python examples/train_language_model.py OUT [FOLDER] [--steps 60]: FOLDER has text files; without one, texts are made
up. Run it again after it was killed: the losses are those of a run that was not, to the last digit.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import mmap_ninja as mn
from mmap_ninja.integrations.torch import Loader

LENGTH, ROWS, WIDTH, EVERY = 128, 8, 64, 10


def made_up() -> Iterator[str]:
    chance = random.Random(0)
    words = ["data", "is", "stored", "once", "and", "read", "as", "a", "list", "that", "lives", "on", "disk"]
    for _ in range(1000):
        yield " ".join(chance.choices(words, k=chance.randrange(2, 60))) + ".\n"


class Model(nn.Module):
    """One block of attention, which stays within documents."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, 256))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean loss of predicting each byte of a document from those before it."""
        tokens, segments = batch["tokens"].long(), batch["segment_ids"]
        x = self.bytes(tokens) + self.places(batch["positions"].long())
        # Positions that begin anew do not keep documents apart: the mask does.
        hidden = (segments[:, :, None] != segments[:, None, :]) | torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        x = x + self.attention(x, x, x, attn_mask=hidden.repeat_interleave(4, 0), need_weights=False)[0]
        is_next = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
        return functional.cross_entropy(self.layers(x[:, :-1][is_next]), tokens[:, 1:][is_next])


def save(state: dict[str, Any], path: Path) -> None:
    """Replace a checkpoint as a whole."""
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    texts = mn.StringsMmap.from_generator(
        given.out / "texts",
        (path.read_text("utf-8") for path in sorted(given.folder.rglob("*.txt"))) if given.folder else made_up(),
        verbose=False,
        if_exists="reuse",
    )
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so that sums do not depend on chance
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    packing = mn.Packing(texts.byte_lengths, LENGTH, batch_size=ROWS)
    loader = Loader(texts, plan=packing)
    checkpoint, step = given.out / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
        step = state["step"]
    while step < given.steps:
        for batch in loader:
            loss = model(batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            print(step, loss.item(), flush=True)
            if step % EVERY == 0 or step == given.steps:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save(state | {"loader": loader.state_dict(), "step": step}, checkpoint)
            if step == given.steps:
                break


if __name__ == "__main__":
    main()
