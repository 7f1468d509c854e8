"""Grain and JAX themselves: sources, iterators and their states, workers, Orbax, and a jitted step on two processes."""

import json
import multiprocessing
import pickle
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

import mmap_ninja as mn
from support.faults import ended, start

grain = pytest.importorskip("grain")

from mmap_ninja.integrations.grain import BatchSource, Loader, LoaderIterDataset, SampleSource  # noqa: E402

COUNT = 50


@pytest.fixture
def _workers():
    """Grain asks absl for flags where it starts processes; a program that `absl.app.run` started has parsed them."""
    pytest.importorskip("absl.flags").FLAGS.mark_as_parsed()


@pytest.fixture
def records(tmp_path):
    samples = (
        {"text": f"review {k}", "label": k, "image": np.full((4, 4), k, np.uint8), "tokens": np.arange(k % 7 + 1)}
        for k in range(COUNT)
    )
    columns = {"text": mn.Text(), "label": mn.Scalar("int64"), "image": mn.Array((4, 4), "uint8")}
    columns["tokens"] = mn.Ragged("int64")
    return mn.RecordsMmap.from_generator(tmp_path / "records", samples, columns=columns)


def labels(batches):
    return [batch["label"].tolist() for batch in batches]


def flat(batches):
    return [number for batch in labels(batches) for number in batch]


def epochs_of(loader, epochs):
    """What a loader gives in so many epochs."""
    return [numbers for _ in range(epochs) for numbers in labels(loader)]


# ---- sources


@pytest.mark.parametrize("make", [SampleSource, lambda records: BatchSource(Loader(records, 8))])
def test_sources_are_data_sources_of_grain(records, make):
    assert isinstance(make(records), grain.sources.RandomAccessDataSource)


def test_sample_source_gives_samples(records):
    pipeline = grain.MapDataset.source(SampleSource(records)).map(lambda sample: sample["label"]).batch(8)

    assert np.concatenate(list(pipeline)).tolist() == list(range(COUNT))


def test_order_of_this_library_shuffles_samples_in_grain(records):
    order = mn.Shuffle(COUNT, seed=3)

    pipeline = grain.MapDataset.source(order).map(SampleSource(records).__getitem__)

    assert [sample["label"] for sample in pipeline] == order[:].tolist()


def test_grains_own_shuffle_repeats_a_sample_of_65537():
    """The reason for sources in an order of ours; docs/guides/jax.md tells it."""
    shuffled = list(grain.MapDataset.range(65_537).seed(0).shuffle())

    assert len(shuffled) == 65_537
    assert len(set(shuffled)) == 65_536
    assert len(set(mn.Shuffle(65_537)[:].tolist())) == 65_537


def jittered(batch, rng):
    return {"label": batch["label"] + rng.integers(1000)}


OPTIONS = {
    "in order": {"batch_size": 8},
    "shuffled": {"batch_size": 8, "shuffle": True, "seed": 1},
    "without the last": {"batch_size": 8, "shuffle": True, "drop_last": True},
    "rank": {"batch_size": 3, "shuffle": True, "rank": 1, "world_size": 4},
    "from epoch 5": {"batch_size": 8, "shuffle": mn.Shuffle(COUNT, epoch=5)},
    "buckets": {"plan": mn.Buckets(np.arange(COUNT) % 7, batch_size=8, window=2), "pad": mn.Pad()},
    "random": {"batch_size": 8, "shuffle": True, "transform": jittered, "rng": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_batch_source_gives_what_the_loader_gives(records, name):
    source = BatchSource(Loader(records, **OPTIONS[name]), epochs=3)

    found = labels(grain.MapDataset.source(source))

    assert found == epochs_of(mn.Loader(records, **OPTIONS[name]), 3)
    assert source[len(source) // 2]["label"].tolist() == found[len(source) // 2]


def test_batch_source_gives_rows_of_a_packing(records):
    plan = mn.Packing(records["tokens"].lengths, 16, batch_size=2)

    found = list(grain.MapDataset.source(BatchSource(Loader(records["tokens"], plan=plan))))

    expected = list(mn.Loader(records["tokens"], plan=plan))
    assert [batch["tokens"].tolist() for batch in found] == [batch["tokens"].tolist() for batch in expected]


def test_batch_source_gives_a_mix(records):
    mixed = mn.mix([records[["label"]], records.select(slice(10))[["label"]]], weights=[0.7, 0.3])

    found = labels(grain.MapDataset.source(BatchSource(Loader(mixed, 8), epochs=2)))

    assert found == epochs_of(mn.Loader(mixed, 8), 2)


def test_batch_source_without_batches_raises(records):
    with pytest.raises(ValueError, match="fewer than the 64"):
        BatchSource(Loader(records, 64, drop_last=True))


def test_batch_source_of_epochs_that_differ_in_length_raises(records):
    lengths = np.random.default_rng(0).integers(1, 100, COUNT)
    source = BatchSource(Loader(records, plan=mn.Buckets(lengths, max_elements=150, window=2)), epochs=50)

    with pytest.raises(ValueError, match=r"epoch \d+ has \d+ batches, and epoch 0 \d+; take a LoaderIterDataset"):
        list(source)


@pytest.mark.parametrize("make", [SampleSource, lambda records: BatchSource(Loader(records, 8), epochs=2)])
def test_source_shows_what_was_there_when_it_was_made(records, make):
    source = make(records)
    count, before = len(source), repr(source)

    records.append(records[0])
    copied = pickle.loads(pickle.dumps(source))

    assert (len(source), len(copied)) == (count, count)
    assert repr(source) == repr(copied) == before
    assert repr(make(records)) != before


def test_repr_of_a_source_tells_seeds_and_columns_but_no_address(records):
    def told(**options):
        return repr(BatchSource(Loader(records, 8, **options)))

    assert told() == told()
    assert len({told(), told(shuffle=True), told(shuffle=True, seed=1), told(columns=["label"])}) == 4
    assert repr(SampleSource(records)) == repr(SampleSource(mn.open(records.path)))
    assert " at 0x" not in told(transform=labels)


@pytest.mark.parametrize("threads", [0, 4])
def test_threads_of_grain_read_batches_in_order(records, threads):
    source = BatchSource(Loader(records, 8, shuffle=True), epochs=3)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)

    iterator = iter(grain.MapDataset.source(source).to_iter_dataset(options))

    assert labels(iterator) == epochs_of(mn.Loader(records, 8, shuffle=True), 3)


@pytest.mark.usefixtures("_workers")
@pytest.mark.filterwarnings("default")  # Grain's own
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_of_grain_read_batches_and_go_on_where_they_stopped(records, workers):
    source = BatchSource(Loader(records, 8, shuffle=True, transform=jittered, rng=True), epochs=2)
    pipeline = grain.MapDataset.source(source).to_iter_dataset()
    pipeline = pipeline.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    expected = epochs_of(mn.Loader(records, 8, shuffle=True, transform=jittered, rng=True), 2)

    iterator = iter(pipeline)
    seen = labels([next(iterator) for _ in range(5)])
    state = iterator.get_state()
    iterator.close()
    again = iter(pipeline)
    again.set_state(state)
    rest = labels(again)
    again.close()

    assert seen + rest == expected


@pytest.mark.usefixtures("_workers")
@pytest.mark.filterwarnings("default")  # Grain's own
@pytest.mark.parametrize("workers", [0, 2])
def test_data_loader_of_grain_knows_its_source_again(records, workers):
    def made(source):
        sampler = grain.samplers.SequentialSampler(len(source))
        return iter(grain.DataLoader(data_source=source, sampler=sampler, worker_count=workers))

    iterator = made(BatchSource(Loader(records, 8, shuffle=True)))
    seen = labels([next(iterator) for _ in range(2)])
    state = iterator.get_state()
    again = made(BatchSource(Loader(mn.open(records.path), 8, shuffle=True)))
    again.set_state(state)

    assert seen + labels(again) == labels(mn.Loader(records, 8, shuffle=True))
    with pytest.raises(ValueError, match="does not match"):
        made(BatchSource(Loader(records, 8, shuffle=True, seed=1))).set_state(state)


# ---- iterators


@pytest.mark.parametrize("name", OPTIONS)
def test_iterator_gives_what_the_loader_gives(records, name):
    dataset = LoaderIterDataset(Loader(records, **OPTIONS[name]), epochs=3)

    expected = epochs_of(mn.Loader(records, **OPTIONS[name]), 3)

    assert [labels(dataset), labels(dataset)] == [expected, expected]


def test_iterator_goes_on_from_any_of_its_states(records):
    dataset = LoaderIterDataset(Loader(records, 8, shuffle=True), epochs=2)
    iterator = iter(dataset)
    states = [iterator.get_state()]
    batches = []
    for batch in iterator:
        batches += labels([batch])
        states.append(json.loads(json.dumps(iterator.get_state())))

    for count, state in enumerate(states):
        iterator.set_state(state)
        assert labels(iterator) == batches[count:]


def test_state_of_an_iterator_is_that_of_a_loader_on_any_number_of_processes(records):
    parts = [
        iter(LoaderIterDataset(Loader(records, 4, shuffle=True, rank=rank, world_size=2), epochs=2)) for rank in (0, 1)
    ]
    seen = [number for part in parts for number in flat([next(part), next(part)])]

    states = [part.get_state() for part in parts]
    alone = mn.Loader(records, 8, shuffle=True)
    alone.load_state_dict(states[1])

    assert states[0] == states[1]
    assert sorted(seen + flat(alone)) == list(range(COUNT))


def test_state_of_another_dataset_is_refused(records):
    state = iter(LoaderIterDataset(Loader(records, 8))).get_state()

    with pytest.raises(ValueError, match="state: is of"):
        iter(LoaderIterDataset(Loader(records.select(slice(10)), 8))).set_state(state)


def test_iterator_begins_where_the_loader_is_and_leaves_it_there(records):
    loader = Loader(records, 8, shuffle=True)
    next(iter(loader))
    state = loader.state_dict()
    dataset = LoaderIterDataset(loader)

    assert labels(dataset) == labels(dataset) == labels(mn.Loader(records, 8, shuffle=True))[1:]
    assert loader.state_dict() == state


def test_closed_iterator_raises_and_leaves_no_thread(records):
    iterator = iter(LoaderIterDataset(Loader(records, 8, num_threads=2)))
    next(iterator)

    iterator.close()
    iterator.close()

    with pytest.raises(ValueError, match="closed iterator"):
        next(iterator)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mmap_ninja")]


@pytest.mark.filterwarnings("default")  # Grain's own
def test_prefetching_thread_of_grain_keeps_our_state(records):
    dataset = LoaderIterDataset(Loader(records, 8, shuffle=True), epochs=2)
    ahead = grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=3)
    expected = epochs_of(mn.Loader(records, 8, shuffle=True), 2)

    iterator = iter(ahead)
    seen = labels([next(iterator) for _ in range(3)])
    state = iterator.get_state()
    iterator.close()
    again = iter(dataset)
    again.set_state(state)

    assert seen == expected[:3]
    assert labels(again) == expected[3:]


@pytest.mark.usefixtures("_workers")
def test_workers_of_grain_cannot_share_an_iterator(records):
    with pytest.raises(ValueError, match="Cannot slice"):
        next(iter(LoaderIterDataset(Loader(records, 8)).mp_prefetch(grain.MultiprocessingOptions(num_workers=2))))


def test_interpreter_ends_in_the_middle_of_prefetching(records):
    """Grain's own threads once kept it alive (its issue 1196)."""
    code = (
        "import sys, grain, mmap_ninja as mn\n"
        "from mmap_ninja.integrations.grain import Loader, LoaderIterDataset\n"
        "dataset = LoaderIterDataset(Loader(mn.open(sys.argv[1]), 8, num_threads=2), epochs=1000)\n"
        "next(iter(grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=3)))\n"
        "batches = iter(dataset)\n"
        "next(batches)\n"
    )

    assert subprocess.run([sys.executable, "-c", code, records.path], timeout=120, check=False).returncode == 0


# ---- checkpoints


@pytest.fixture
def stopped(records):
    """An iterator in the middle, and what is left of it."""
    iterator = iter(LoaderIterDataset(Loader(records, 8, shuffle=True), epochs=2))
    for _ in range(3):
        next(iterator)
    return iterator, epochs_of(mn.Loader(records, 8, shuffle=True), 2)[3:]


def fresh(records):
    return iter(LoaderIterDataset(Loader(records, 8, shuffle=True), epochs=2))


@pytest.mark.filterwarnings("default")  # Orbax's own
def test_handler_of_grain_saves_and_restores_an_iterator_with_orbax(records, stopped, tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    iterator, rest = stopped

    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator)))
        manager.wait_until_finished()
        again = fresh(records)
        manager.restore(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(again)))

    assert labels(again) == rest


@pytest.mark.filterwarnings("default")  # Orbax's own
def test_orbax_saves_and_restores_an_iterator_by_itself(records, stopped, tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint.experimental.v1")
    iterator, rest = stopped
    again = fresh(records)

    ocp.save_checkpointables(tmp_path / "checkpoint", {"data": iterator})
    ocp.load_checkpointables(tmp_path / "checkpoint", {"data": again})

    assert labels(again) == rest


@pytest.mark.filterwarnings("default")  # Orbax's own
def test_state_goes_through_orbax_as_json_for_any_number_of_processes(records, stopped, tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    iterator, rest = stopped

    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(3, args=ocp.args.Composite(data=ocp.args.JsonSave(iterator.get_state())))
        manager.wait_until_finished()
        state = manager.restore(3, args=ocp.args.Composite(data=ocp.args.JsonRestore()))["data"]
    parts = [iter(LoaderIterDataset(Loader(records, 4, shuffle=True, rank=rank, world_size=2))) for rank in (0, 1)]
    for part in parts:
        part.set_state(state)

    assert [sorted(flat([next(part) for part in parts]))] == [sorted(rest[0])]


# ---- JAX


def test_rank_without_world_size_is_refused(records):
    with pytest.raises(TypeError, match="both of them"):
        Loader(records, 8, rank=1)


def test_without_jax_there_is_one_process(records, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)

    loader = Loader(records, 8)

    assert (loader.rank, loader.world_size) == (0, 1)


def train_on_a_process(rank, port, path, results):
    import jax  # noqa: PLC0415 - in the process that is one of two

    jax.config.update("jax_platforms", "cpu")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    mesh = jax.make_mesh((2,), ("data",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    @jax.jit
    def step(weight, label):
        return weight - 0.01 * jax.grad(lambda weight: ((weight - label) ** 2).mean())(weight)

    iterator = iter(LoaderIterDataset(Loader(mn.open(path), 4, shuffle=True, columns=["label"])))
    weight, seen = jax.numpy.zeros(()), []
    for _ in range(3):
        label = next(iterator)["label"].astype("float32")
        seen += label.tolist()
        weight = step(weight, jax.make_array_from_process_local_data(spread, label))
    results.put((rank, seen, float(weight), iterator.get_state()))
    jax.distributed.shutdown()


def test_two_processes_of_jax_share_an_epoch_and_one_goes_on(records):
    pytest.importorskip("jax")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = multiprocessing.get_context("spawn").Queue()

    processes = [start("spawn", train_on_a_process, rank, port, records.path, results) for rank in (0, 1)]
    found = sorted(results.get(timeout=120) for _ in processes)
    assert [ended(process) for process in processes] == [0, 0]

    (_, first, weight, state), (_, second, other_weight, other_state) = found
    alone = mn.Loader(records, 8, shuffle=True, columns=["label"])
    whole = labels(alone)
    expected = 0.0
    for numbers in whole[:3]:
        expected -= 0.02 * float(np.mean(expected - np.array(numbers)))
    assert sorted(first + second) == sorted(number for numbers in whole[:3] for number in numbers)
    assert weight == other_weight == pytest.approx(expected, rel=1e-5)
    assert state == other_state
    alone.load_state_dict(state)
    assert labels(alone) == whole[3:]
