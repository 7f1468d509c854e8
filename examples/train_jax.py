"""Train a network with JAX and Grain, stop in the middle, and go on: the losses are the same to the last digit."""

# pyright: reportMissingImports=false

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mmap_ninja as mn
from mmap_ninja.integrations.grain import Loader, LoaderIterDataset

CHECKPOINT = Path("stopped.npz")
Parameters = dict[str, Any]


def generated(count: int) -> Iterator[dict[str, Any]]:
    """Pictures of ten kinds, each with a lot of noise."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(128, 20, (10, 28, 28))
    for label in rng.integers(0, 10, count):
        yield {"image": (kinds[label] + rng.normal(0, 60, (28, 28))).clip(0, 255).astype(np.uint8), "label": label}


def brightened(batch: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Augment a batch; `rng` is the same for the same batch, whenever it is made."""
    image = batch["image"].reshape(len(batch["image"]), -1).astype(np.float32) / 255 - 0.5
    return {"image": image + rng.normal(0, 0.1, (len(image), 1)).astype(np.float32), "label": batch["label"]}


def loss_of(parameters: Parameters, image: Any, label: Any) -> Any:
    hidden = jax.nn.relu(image @ parameters["hidden"])
    scores = jax.nn.log_softmax(hidden @ parameters["output"])
    return -jnp.take_along_axis(scores, label[:, None], axis=1).mean()


def descended(parameters: Parameters, image: Any, label: Any) -> tuple[Parameters, Any]:
    loss, slopes = jax.value_and_grad(loss_of)(parameters, image, label)
    return jax.tree.map(lambda weight, slope: weight - 0.1 * slope, parameters, slopes), loss


step = jax.jit(descended)


def train(dataset: LoaderIterDataset, stop_after: int | None = None) -> list[float]:
    """The losses of all steps, from the checkpoint on if there is one."""
    rng, batches, losses = np.random.default_rng(1), iter(dataset), []
    sizes = {"hidden": (28 * 28, 64), "output": (64, 10)}
    parameters = {name: rng.normal(0, 0.05, size).astype(np.float32) for name, size in sizes.items()}
    if CHECKPOINT.exists():
        with np.load(CHECKPOINT) as saved:
            parameters = {name: saved[name] for name in parameters}
            batches.set_state(json.loads(str(saved["state"])))
    for batch in batches:
        parameters, loss = step(parameters, **batch)
        losses.append(float(loss))
        if len(losses) == stop_after:
            np.savez(CHECKPOINT, state=json.dumps(batches.get_state()), **parameters)
            break
    return losses


pictures = mn.RecordsMmap.from_generator(
    "pictures", generated(10_000), columns={"image": mn.Array((28, 28), np.uint8), "label": mn.Scalar(np.int64)}
)
loader = Loader(pictures, batch_size=128, shuffle=True, transform=brightened, rng=True)
dataset = LoaderIterDataset(loader, epochs=3)

CHECKPOINT.unlink(missing_ok=True)
whole = train(dataset)
print(f"{len(whole)} steps: the loss went from {whole[0]:.2f} to {whole[-1]:.2f}")

first = train(dataset, stop_after=100)
rest = train(dataset)
print(f"stopped after {len(first)} steps, and went on with the other {len(rest)}")
print(f"the same losses: {first + rest == whole}")
