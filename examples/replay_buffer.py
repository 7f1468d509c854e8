"""A replay buffer on disk: the newest transitions of a game, from which a table of values is learned."""

import tempfile

import numpy as np

import mmap_ninja as mn

STATES, SIZE, BATCH = 12, 300, 32
chance = np.random.default_rng(0)


def play(state: int, action: int) -> tuple[int, float]:
    """A corridor: action 1 leads right, and its end is a reward."""
    after = min(max(state + (1 if action else -1), 0), STATES - 1)
    return after, float(after == STATES - 1)


with tempfile.TemporaryDirectory() as scratch:
    columns = {name: mn.Scalar(np.int64) for name in ("state", "action", "after")} | {"reward": mn.Scalar(np.float32)}
    buffer = mn.RecordsMmap.create(f"{scratch}/buffer", columns=columns)
    values, state = np.zeros((STATES, 2)), 0
    for _ in range(2000):
        best = np.flatnonzero(values[state] == values[state].max())
        action = int(chance.integers(2) if chance.random() < 0.2 else chance.choice(best))
        after, reward = play(state, action)
        buffer.append({"state": state, "action": action, "after": after, "reward": reward})
        if len(buffer) > SIZE:
            del buffer[0]
        if buffer.garbage > buffer.nbytes:
            buffer.compact()
        batch = buffer.take(chance.integers(len(buffer), size=BATCH))
        goal = batch["reward"] + 0.9 * values[batch["after"]].max(1) * (batch["reward"] == 0)
        np.add.at(values, (batch["state"], batch["action"]), 0.1 * (goal - values[batch["state"], batch["action"]]))
        state = 0 if reward else after

    print(len(buffer), "transitions are kept")
    print("the way right is better in", int((values[:-1, 1] > values[:-1, 0]).sum()), "of", STATES - 1, "places")
