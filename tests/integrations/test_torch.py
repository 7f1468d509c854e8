"""PyTorch itself: tensors, `DataLoader` with its workers and samplers, and what others build on it."""

import contextlib
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmap_ninja as mn
from support.faults import ended, start
from support.pages import blocks_of

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from mmap_ninja.integrations.torch import Loader, as_dataset, tensors  # noqa: E402

COUNT = 50


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
    return [number for batch in batches for number in batch["label"].tolist()]


# ---- tensors


def test_tensors_share_the_memory_of_arrays():
    batch = {"x": np.arange(6).reshape(2, 3), "pair": (np.ones(2, np.float32), ["a", "b"]), "ragged": [np.zeros(1)]}

    found = tensors(batch)

    found["x"][0, 0] = 7
    assert batch["x"][0, 0] == 7
    assert found["pair"][0].dtype == torch.float32
    assert found["pair"][1] == ["a", "b"]
    assert isinstance(found["ragged"][0], torch.Tensor)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int32", "uint64", "float16", "complex64"])
def test_tensors_have_the_dtypes_of_arrays(dtype):
    found = tensors(np.ones(3, dtype))

    assert found.dtype == getattr(torch, dtype)
    assert found.tolist() == np.ones(3, dtype).tolist()


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_tensors_know_the_dtypes_of_ml_dtypes(dtype):
    array = np.array([0.5, -2.0]).astype(getattr(pytest.importorskip("ml_dtypes"), dtype))

    found = tensors(array)

    assert found.dtype == getattr(torch, dtype)
    assert found.float().tolist() == [0.5, -2.0]


@pytest.mark.parametrize("array", [np.array(["2026-01-01"], "M8[D]"), np.array(["text"]), np.array([b"bytes"])])
def test_arrays_stay_where_there_is_no_dtype_for_them(array):
    assert tensors({"x": array})["x"] is array


def test_array_that_refuses_changes_or_has_foreign_bytes_is_copied():
    shown = np.broadcast_to(np.arange(3), (2, 3))

    assert tensors(shown).add_(1).tolist() == [[1, 2, 3], [1, 2, 3]]
    assert shown.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert tensors(np.arange(3, dtype=">i4")).tolist() == [0, 1, 2]


def test_masked_array_is_refused():
    with pytest.raises(TypeError, match="say by `fill`"):
        tensors({"x": np.ma.masked_array([1, 2], [True, False])})


# ---- the loader


def test_loader_gives_what_that_of_numpy_gives_as_tensors(records):
    options = {"batch_size": 8, "shuffle": True, "pad": mn.Pad(mask=True), "with_index": True}

    for (indices, found), (positions, expected) in zip(
        Loader(records, **options), mn.Loader(records, **options), strict=True
    ):
        assert indices.tolist() == positions.tolist()
        assert found.keys() == expected.keys()
        assert found["text"] == expected["text"]
        for name in ("label", "image", "tokens", "tokens_lengths", "tokens_mask"):
            assert found[name].dtype == tensors(expected[name]).dtype
            assert found[name].tolist() == expected[name].tolist()


def test_states_of_both_loaders_are_the_same(records):
    loader, other = Loader(records, 8, shuffle=True), mn.Loader(records, 8, shuffle=True)
    batches = iter(loader)
    seen = labels([next(batches), next(batches)])

    other.load_state_dict(json.loads(json.dumps(loader.state_dict())))

    assert sorted(seen + labels(other)) == list(range(COUNT))


def test_transform_may_return_tensors(records):
    loader = Loader(records, 8, columns=["label"], transform=lambda batch: torch.as_tensor(batch["label"]) * 2)

    assert torch.cat(list(loader)).tolist() == [2 * number for number in range(COUNT)]


def test_batches_are_copied_to_a_device(records):
    found = next(iter(Loader(records, 8, columns=["label", "text"], device="meta")))

    assert found["label"].device.type == "meta"
    assert found["text"][0] == "review 0"


def test_jagged_batches_become_nested_tensors(records):
    values, offsets = next(iter(Loader(records["tokens"], 8, collate="jagged")))

    nested = torch.nested.nested_tensor_from_jagged(values, offsets)

    assert [sample.tolist() for sample in nested.unbind()] == [list(range(k % 7 + 1)) for k in range(8)]


def test_path_instead_of_a_dataset_is_refused(records):
    with pytest.raises(TypeError, match=r"got the path .*; pass mmap_ninja\.open"):
        as_dataset(records.path)


def test_rank_without_world_size_is_refused(records):
    with pytest.raises(TypeError, match="both of them"):
        Loader(records, 8, rank=1)


def train_on_a_rank(rank, store, path, state, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    loader = Loader(mn.open(path), 4, shuffle=True, columns=["label"])
    loader.load_state_dict(state)
    batches = iter(loader)
    results.put((rank, labels([next(batches), next(batches)]), loader.state_dict()))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_share_an_epoch_and_one_goes_on(records, tmp_path):
    whole = Loader(records, 4, shuffle=True, columns=["label"])
    expected = labels(whole)
    results = multiprocessing.get_context("spawn").Queue()
    start_state = Loader(records, 4, shuffle=True, columns=["label"]).state_dict()
    ranks = [
        start("spawn", train_on_a_rank, rank, tmp_path / "store", records.path, start_state, results)
        for rank in range(2)
    ]
    seen = {rank: (numbers, state) for rank, numbers, state in (results.get(timeout=60) for _ in ranks)}
    assert [ended(process) for process in ranks] == [0, 0]

    assert sorted(seen[0][0] + seen[1][0]) == sorted(expected[:16])
    assert seen[0][1] == {**seen[1][1]}
    alone = Loader(records, 4, shuffle=True, columns=["label"])
    alone.load_state_dict(seen[1][1])
    assert labels(alone) == expected[16:]


# ---- DataLoader


def doubled(sample):
    return sample["label"] * 2


DATASETS = {
    "records": lambda records: records[["label", "image", "text"]],
    "view": lambda records: records.select(slice(10, None))[["label"]],
    "concat": lambda records: mn.concat([records, records])[["label"]],
    "column": lambda records: records["label"],
    "map": lambda records: records.map(doubled),
    "windows": lambda records: records["tokens"].windows(2),
}
WORKERS = {  # processes that start slowly read one of the datasets
    "in this process": {"num_workers": 0},
    "fork": {"num_workers": 2, "multiprocessing_context": "fork"},
    "forkserver": {"num_workers": 2, "multiprocessing_context": "forkserver"},
    "spawn": {"num_workers": 2, "multiprocessing_context": "spawn"},
    "persistent": {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True},
}
LOADED = [(name, workers) for name in DATASETS for workers in ("in this process", "fork")]
LOADED += [("records", workers) for workers in ("forkserver", "spawn", "persistent")]


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize(("name", "workers"), LOADED)
@pytest.mark.parametrize("wrap", [lambda dataset: dataset, as_dataset], ids=["itself", "as_dataset"])
def test_data_loader_reads_every_sample_once_in_each_epoch(records, name, workers, wrap):
    dataset = DATASETS[name](records)
    loader = DataLoader(wrap(dataset), batch_size=8, sampler=mn.Shuffle(len(dataset)), **WORKERS[workers])
    expected = [sample["label"] if isinstance(sample, dict) else sample for sample in dataset]

    for _ in range(2):
        batches = [batch["label"] if isinstance(batch, dict) else batch for batch in loader]
        assert sorted(torch.cat(batches).tolist()) == sorted(np.asarray(expected).tolist())


def test_data_loader_takes_a_plan_as_batch_sampler(records):
    plan = mn.Batches(mn.Shuffle(COUNT), 8)

    batches = list(DataLoader(as_dataset(records[["label"]]), batch_sampler=plan))

    assert [batch["label"].tolist() for batch in batches] == [plan[k].tolist() for k in range(len(plan))]


def test_as_dataset_takes_the_forms_of_a_loader(records):
    batch = next(iter(DataLoader(as_dataset(records, pad=mn.Pad(value=-1)), batch_size=3)))

    assert batch["tokens"].tolist() == [[0, -1, -1], [0, 1, -1], [0, 1, 2]]
    assert batch["tokens_lengths"].tolist() == [1, 2, 3]
    assert batch["text"] == ["review 0", "review 1", "review 2"]


@pytest.mark.filterwarnings("ignore:.*(set_vital|use of fork).*")
@pytest.mark.parametrize("workers", [0, 2])
def test_stateful_data_loader_goes_on_where_it_stopped(records, workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def made():
        return stateful(as_dataset(records[["label"]]), batch_size=8, sampler=mn.Shuffle(COUNT), num_workers=workers)

    loader = made()
    batches = iter(loader)
    first = labels([next(batches), next(batches)])
    state = loader.state_dict()
    again = made()
    again.load_state_dict(state)

    assert first + labels(again) == labels(made())


# ---- what others build on PyTorch


class Recorder(torch.nn.Module):
    """A model of one weight; it notes the samples that it was trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, label, **_):
        self.seen += label.tolist()
        return {"loss": ((self.weight - label.float()) ** 2).mean()}


@pytest.mark.filterwarnings("default")  # Lightning's own
def test_lightning_trains_and_its_checkpoint_goes_on(records, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Recorder()

        def training_step(self, batch):
            return self.model(**batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-4)

    class Killed(Exception):  # noqa: N818 - an event of the test
        pass

    class StopAt(lightning.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 10:
                trainer.save_checkpoint(tmp_path / "stopped.ckpt")
                raise Killed

    def fit(checkpoint=None, callbacks=()):
        module = Module()
        trainer = lightning.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=2,
            enable_checkpointing=False, default_root_dir=tmp_path, callbacks=[*callbacks],
        )  # fmt: skip
        with contextlib.suppress(Killed):
            trainer.fit(module, Loader(records, 8, shuffle=True, columns=["label"]), ckpt_path=checkpoint)
        return module.model.seen

    assert fit(callbacks=[StopAt()]) + fit(tmp_path / "stopped.ckpt") == fit()


@pytest.mark.filterwarnings("default")  # those of transformers
def test_hugging_face_trainer_trains_on_a_loader_and_goes_on(records, tmp_path):
    transformers = pytest.importorskip("transformers")

    names = {"Any": Any, "Loader": Loader, "Path": Path, "json": json}
    (recipe,) = (block for block in blocks_of("docs/guides/pytorch.md") if "class KeepsPlace" in block)
    exec(recipe, names)  # noqa: S102 - our own page

    def train(output, resume=None, **limits):
        loader = Loader(records, 8, shuffle=True, columns=["label"])
        options = transformers.TrainingArguments(
            output_dir=tmp_path / output, num_train_epochs=2, save_steps=10, report_to=[], use_cpu=True,
            ignore_data_skip=True, disable_tqdm=True, **limits,
        )  # fmt: skip
        model = Recorder()
        trainer = names["Trainer"](model, options, loader=loader, train_dataset=records)
        trainer.train(resume_from_checkpoint=resume)
        return model.seen

    whole = train("whole")
    first = train("stopped", max_steps=10)
    second = train("stopped", resume=True)
    assert first + second == whole


@pytest.mark.filterwarnings("default")  # those of accelerate
def test_accelerate_prepares_the_model_and_leaves_the_loader_alone(records):
    accelerator = pytest.importorskip("accelerate").Accelerator(cpu=True)
    loader = Loader(
        records, 8, shuffle=True, columns=["label"], rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )  # fmt: skip
    model = Recorder()
    prepared, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 1e-4))

    for batch in loader:
        accelerator.backward(prepared(**batch)["loss"])
        optimizer.step()
        optimizer.zero_grad()

    assert sorted(model.seen) == list(range(COUNT))
