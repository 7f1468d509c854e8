"""Mix datasets of very different sizes by weights, and go on in the middle with another number of processes."""

import collections
import itertools
import tempfile

import mmap_ninja as mn

with tempfile.TemporaryDirectory() as scratch:
    sizes = {"books": 500, "code": 2_000, "web": 20_000}
    parts = [
        mn.StringsMmap.from_generator(f"{scratch}/{name}", (f"{name} {number}" for number in range(size)))
        for name, size in sizes.items()
    ]
    mixed = mn.mix(parts, weights=[0.2, 0.3, 0.5], length=4096, seed=0)

    def counted(texts: list[str]) -> dict[str, int]:
        return dict(sorted(collections.Counter(text.split()[0] for text in texts).items()))

    print("in an epoch:", counted(list(mixed)))
    print("in its first batch:", counted(next(iter(mn.Loader(mixed, 256)))))

    ranks = [mn.Loader(mixed, 32, rank=rank, world_size=4) for rank in range(4)]
    seen = [text for loader in ranks for batch in itertools.islice(loader, 10) for text in batch]
    state = ranks[0].state_dict()
    print("four processes have seen", len(seen), "samples, and stop")

    two = [mn.Loader(mixed, 32, rank=rank, world_size=2) for rank in range(2)]
    for loader in two:
        loader.load_state_dict(state)
        seen += [text for batch in loader for text in batch]
    print("two see the rest; the same samples as one process:", sorted(seen) == sorted(mixed))
