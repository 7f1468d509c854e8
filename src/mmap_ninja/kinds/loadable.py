"""What has samples has a `loader`, which the layer above makes."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy.typing as npt

import mmap_ninja  # its names are looked up when `loader` is called: they belong to a higher layer
from mmap_ninja.kinds.nulls import Nulls

Collate = Literal["auto", "stack", "pad", "jagged", "list"]


class Loadable:
    """Samples that can be loaded for training."""

    __slots__ = ()

    def loader(
        self,
        batch_size: int | None = None,
        *,
        plan: "mmap_ninja.Batches | mmap_ninja.Buckets | mmap_ninja.Packing | None" = None,
        shuffle: "bool | mmap_ninja.Shuffle | mmap_ninja.Weighted | npt.ArrayLike" = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        columns: list[str] | None = None,
        collate: Collate = "auto",
        pad: "mmap_ninja.Pad | Mapping[str, mmap_ninja.Pad] | None" = None,
        nulls: Nulls = "raise",
        fill: Any = None,
        transform: Callable[..., Any] | None = None,
        rng: bool = False,
        num_threads: int | None = None,
        prefetch: int = 2,
        with_index: bool = False,
    ) -> "mmap_ninja.Loader":
        """Batches of these samples for training, epoch by epoch, which stop and go on exactly where they stopped.

        Args:
            batch_size: Samples in a batch of one process. Without a plan it is required.
            plan: `Batches`, `Buckets` or a `Packing`; it takes the place of `batch_size`,
                `shuffle` and `drop_last`, and its sizes are of all processes together.
            shuffle: Whether each epoch has a new order. Or the order: a `Shuffle`, a `Weighted`, or an array of
                positions.
            seed: What decides the order and `rng`: a number from 0 to 2^64 - 1. An order or a plan has its own seed.
            rank: The number of this process, from 0.
            world_size: How many processes there are. Where the last batch does not divide, samples from the start of
                the epoch fill it up, so that all processes have equally many.
            drop_last: Whether to leave out the last batch if it is short.
            columns: The columns of records to read; None: all.
            collate: The form of batches. "auto": one array of samples that have one shape by their type; padded if
                `pad` is given; otherwise a list; a dict of these for records. "stack": one array, also of ragged
                samples, which then must have one shape. "pad": as with `pad=Pad()`. "jagged": `(values, offsets)` as
                from `take_jagged`. "list": a list of samples.
            pad: How ragged samples are padded, for all columns or by column in a dict: a batch is then `(array,
                lengths[, mask])`, or, for records, `x`, `x_lengths` and `x_mask`.
            nulls: What a null of a nullable column becomes. "mask": None in a list; masked in an array, with NaN or NaT
                under the mask where the dtype has one. "raise": a ValueError that names the column and the position.
            fill: A value for nulls, which their columns hold exactly, or, for records, a dict with a value for each of
                some columns; None: as `nulls` says.
            transform: Called with each batch; its result is the batch. With `rng`, also with a random generator.
            rng: Whether `transform` gets a `numpy.random.Generator`, which is the same for the same batch of the same
                epoch, also after a resume.
            num_threads: How many threads make batches ahead. None: as many as make the steps of your loop shorter, by
                measurement, at most 4; 0: none, batches are made where they are needed. `transform` then runs in them,
                for several batches at once.
            prefetch: How many batches threads make ahead, at most, or one for each thread if that is more.
            with_index: Whether to return `(indices, batch)`: the positions of the samples in the dataset, int64.

        Returns:
            A `Loader` over these samples.

        Raises:
            TypeError: if an argument has another type.
            ValueError: if arguments contradict each other, or a number is out of range.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c", "d"])
            >>> for batch in texts.loader(batch_size=2, shuffle=True, seed=1):
            ...     print(batch)
            ['d', 'a']
            ['c', 'b']
        """
        return mmap_ninja.Loader(
            self,
            batch_size,
            plan=plan,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
            columns=columns,
            collate=collate,
            pad=pad,
            nulls=nulls,
            fill=fill,
            transform=transform,
            rng=rng,
            num_threads=num_threads,
            prefetch=prefetch,
            with_index=with_index,
        )
