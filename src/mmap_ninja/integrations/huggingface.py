"""Hugging Face `datasets`: what is stored as its `Dataset` or `IterableDataset`, and what it has, stored.

`Features` say more than the types of columns do: the names of classes, and what is an image. `from_dataset` stores them
in the metadata, under "huggingface", from where the others take them.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import datasets
import numpy as np
import pyarrow as pa
from datasets.fingerprint import Hasher
from datasets.iterable_dataset import _BaseExamplesIterable
from datasets.table import InMemoryTable

from mmap_ninja.arrow import streams
from mmap_ninja.arrow.export import SAMPLE
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns import nesting
from mmap_ninja.integrations import _huggingface_types as types
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.loadable import Collate
from mmap_ninja.kinds.nulls import Nulls
from mmap_ninja.kinds.options import PathLike
from mmap_ninja.kinds.records import RecordsMmap
from mmap_ninja.loading.collate import Forms, Pad, check_samples, reader_of
from mmap_ninja.loading.fingerprint import described
from mmap_ninja.loading.orders import MOST, Listed, Shuffle, number

_AT_ONCE: Final = 256  # samples that are read by one call, to be given one by one
_SHARES: Final = 2**10 * 3**2 * 5 * 7  # into which an order can be dealt: a multiple of most numbers of processes


def to_dataset(dataset: DatasetHandle[Any]) -> datasets.Dataset:
    """A `datasets.Dataset` of the samples that a dataset, or a view of it, shows.

    It reads the same files: what `to_arrow` does not copy is not copied. Its pickle is a path and a commit, so that its
    workers do not get the samples either.

    Args:
        dataset: A dataset, a view or a `concat`. If it has only one column, that is called `sample`.

    Returns:
        A dataset with the features of the metadata, under "huggingface", as `from_dataset` stores them; those of the
        other columns follow from their types.

    Raises:
        TypeError: if a dtype has no type in Arrow, or a column does not hold what the metadata says.

    Example:
        >>> import datasets
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.huggingface import to_dataset
        >>> train = mn.RecordsMmap.from_generator("train", ({"text": str(k), "label": k % 2} for k in range(4)))
        >>> labels = datasets.ClassLabel(names=["bad", "good"])
        >>> train.metadata = {"huggingface": datasets.Features(label=labels).to_dict()}
        >>> shown = to_dataset(train)
        >>> shown[3], shown.features["label"].names
        ({'text': '3', 'label': 1}, ['bad', 'good'])
    """
    check_samples(dataset)
    samples = dataset.select(slice(None))
    features = types.features_of(samples)
    commits = [part.commit_id for part in samples.parts]
    fingerprint = Hasher.hash((described(samples), commits, features))  # or else all samples are hashed
    return datasets.Dataset(
        _shown(samples, features.arrow_schema), datasets.DatasetInfo(features=features), fingerprint=fingerprint
    )


class _Shown(InMemoryTable):
    """The table of what a handle shows. The pickle of it is that of the handle."""

    def __init__(self, samples: Any, table: pa.Table) -> None:
        super().__init__(table)
        self._samples = samples

    def slice(self, offset: int = 0, length: int | None = None) -> "_Shown":
        stop = None if length is None else offset + length
        return _Shown(self._samples.select(slice(offset, stop)), self.table.slice(offset, length))

    def replace_schema_metadata(self, metadata: Any = None) -> "_Shown":
        return _Shown(self._samples, self.table.replace_schema_metadata(metadata))

    def __deepcopy__(self, _: Any) -> Self:
        return self  # nothing changes it

    def __reduce__(self) -> tuple[Any, ...]:
        return _shown, (self._samples, self.schema)


def _shown(samples: DatasetHandle[Any], schema: pa.Schema) -> _Shown:
    return _Shown(samples, types.table_of(samples, schema))


def from_dataset(
    dataset: datasets.Dataset | datasets.IterableDataset,
    path: PathLike,
    batch_size: int = 1024,
    *,
    if_exists: IfExists = "replace",
    metadata: dict[str, Any] | None = None,
) -> RecordsMmap:
    """Store a dataset of Hugging Face, batch by batch: the samples that it shows, in its order.

    Args:
        dataset: A `datasets.Dataset`, also one that was shuffled, selected or filtered, or an `IterableDataset`. Of a
            `DatasetDict` pass one value after the other.
        path: The directory of the new dataset.
        batch_size: Samples per commit, at most.
        if_exists: What to do if there is a dataset already, as in `RecordsMmap.from_arrow`.
        metadata: A dict to store as JSON, besides the features.

    Returns:
        The stored samples. `Array2D` to `Array5D` are `Array`, lists of numbers `Ragged`, other lists and `Json` are
        `Json`, dicts are nested columns: an `Image` or an `Audio` has its encoded file in `x.bytes` and its name in
        `x.path`; a file that only its name tells is read. `metadata["huggingface"]` has the features, and so the names
        of classes.

    Raises:
        TypeError: if a column cannot be stored, such as decimals.

    Example:
        >>> import datasets
        >>> from mmap_ninja.integrations.huggingface import from_dataset
        >>> reviews = datasets.Dataset.from_dict({"text": ["good", "bad", "fine"], "label": [1, 0, 1]})
        >>> train = from_dataset(reviews.select([2, 0]), "train")
        >>> train["text"][:], train["label"][:].tolist()
        (['fine', 'good'], [1, 1])
    """
    stream = streams.opened(dataset, str(path), batch_size)
    features = {name: of for name, of in (dataset.features or {}).items() if name in stream.schema.names}
    schema = pa.schema([types.stored_field(field) for field in stream.schema])

    def batches() -> Iterator[Any]:
        yield schema.empty_table()  # tells the columns
        for batch in stream.batches:
            columns = [
                types.stored(column, features.get(field.name), field, f"{path}: column {field.name!r}")
                for field, column in zip(schema, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    noted = nesting.nested(datasets.Features(features).to_dict())
    return RecordsMmap.from_arrow(
        path, batches(), batch_size, if_exists=if_exists, metadata={**(metadata or {}), types.METADATA: noted}
    )


def to_iterable_dataset(
    dataset: Any,
    batch_size: int | None = None,
    *,
    shuffle: bool = False,
    seed: int = 0,
    collate: Collate = "auto",
    pad: Pad | Mapping[str, Pad] | None = None,
    nulls: Nulls = "raise",
    fill: Any = None,
) -> datasets.IterableDataset:
    """A `datasets.IterableDataset` over samples or whole batches, which goes on exactly where it stopped.

    It reads many samples by one native call. `state_dict` and `load_state_dict`, `set_epoch`, `split_dataset_by_node`
    and the workers of a `DataLoader` work as documented there, and no resume skips over samples by reading them: a
    state is a position in an order of all samples, before they are dealt to processes. So another number of processes
    goes on with what is left.

    Args:
        dataset: A dataset, a view, a `concat`, windows, or any list.
        batch_size: Samples in an element, which is a batch as from `mmap_ninja.Loader`; None: elements are samples.
        shuffle: Whether each epoch has a new order, of all samples. There is no buffer, so do not call
            `IterableDataset.shuffle`, whose buffer is lost when the dataset goes on.
        seed: What decides the order, with the epoch.
        collate: The form of batches, as for `mmap_ninja.Loader`.
        pad: How ragged samples in batches are padded, as for `mmap_ninja.Loader`.
        nulls: What a null in a batch becomes, as for `mmap_ninja.Loader`.
        fill: A value for nulls in batches, as for `mmap_ninja.Loader`.

    Returns:
        A stream of dicts: samples and batches of a dataset that is no `RecordsMmap` are the value of `sample`.

    Example:
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.huggingface import to_iterable_dataset
        >>> train = mn.RecordsMmap.from_generator("train", ({"text": str(k), "label": k} for k in range(6)))
        >>> stream = to_iterable_dataset(train, batch_size=4, shuffle=True)
        >>> next(iter(stream))
        {'text': ['0', '3', '2', '1'], 'label': array([0, 3, 2, 1])}
        >>> state = stream.state_dict()
        >>> stream.load_state_dict(state)
        >>> list(stream)
        [{'text': ['5', '4'], 'label': array([5, 4])}]
    """
    check_samples(dataset)
    samples = dataset.select(slice(None)) if isinstance(dataset, DatasetHandle) else dataset
    order = Shuffle(len(samples), seed) if shuffle else Listed(range(len(samples)))
    forms, features = Forms(collate, pad, nulls, fill), None
    if batch_size is not None:
        batch_size = number(batch_size, "batch_size", 1, MOST)
    else:
        if forms != Forms("auto", None, "raise", None):
            raise ValueError("batch_size: expected a number, since collate, pad, nulls and fill are for batches")
        forms = Forms("list", None, "mask", None)
        features = types.features_of(samples) if isinstance(samples, DatasetHandle) else None
    source = _Source(samples, batch_size, forms, features, order)
    return datasets.IterableDataset(source, datasets.DatasetInfo(features=features))


class _Source(_BaseExamplesIterable):
    """What an `IterableDataset` iterates over: a share of an order, from a position on."""

    def __init__(
        self,
        samples: Any,
        batch_size: int | None,
        forms: Forms,
        features: Any,
        order: Shuffle | Listed,
        first: int = 0,
        step: int = 1,
    ) -> None:
        super().__init__()
        self._samples = samples
        self._batch_size = batch_size
        self._forms = forms
        self._features = features
        self._order = order
        self._first = first  # the share: this place of the order, and every so many-th after it
        self._step = step

    @property
    def features(self) -> Any:
        return self._features

    @property
    def is_typed(self) -> bool:
        return self._features is not None

    @property
    def sleep_on_threads_shutdown(self) -> bool:
        return False

    @property
    def num_shards(self) -> int:
        return max(1, _SHARES // self._step)

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> "_Source":  # noqa: ARG002
        return self._other(self._order, self._first + self._step * index, self._step * num_shards)

    def shuffle_data_sources(self, generator: np.random.Generator) -> "_Source":
        """Another epoch, of which the generator tells."""
        order = copy.copy(self._order)
        drawn = int(copy.deepcopy(generator).integers(1 << 63))
        order.set_epoch((order.epoch + drawn) % (1 << 63))
        return self._other(order, self._first, self._step)

    def reshard_data_sources(self) -> "_Source":
        return self

    def _other(self, order: Shuffle | Listed, first: int, step: int) -> "_Source":
        return _Source(self._samples, self._batch_size, self._forms, self._features, order, first, step)

    def _fingerprint(self) -> str:
        return f"{described(self._samples)} {self._order._described()} {self._order.seed}"  # noqa: SLF001

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict = {"position": 0, "fingerprint": self._fingerprint(), "type": type(self).__name__}
        return self._state_dict

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        state: dict[str, Any] = self._state_dict or self._init_state_dict()
        if state["fingerprint"] != self._fingerprint():
            raise ValueError(
                f"state: is of {state['fingerprint']!r:.200}, and this stream of {self._fingerprint()!r:.200}; load it "
                "with the same samples, shuffle and seed; of a dataset that has grown, stream select(slice(0, n))"
            )
        read = reader_of(self._samples, self._forms)
        count, step, size = len(self._order), self._step, self._batch_size or _AT_ONCE
        while (start := state["position"]) + self._first < count:
            taken = read(self._order[start + self._first : start + step * size : step])
            elements = [(size, taken)] if self._batch_size else enumerate(taken, 1)
            for done, element in elements:
                state["position"] = min(start + step * done, count)
                yield start, element if isinstance(element, dict) else {SAMPLE: element}
        state["position"] = count
