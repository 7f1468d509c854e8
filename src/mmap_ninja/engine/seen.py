"""What a handle sees: one commit, and the open files that hold it."""

from dataclasses import dataclass, replace
from typing import Any, cast

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Column, Ragged
from mmap_ninja.engine.commit_file import Look
from mmap_ninja.engine.edits import Edit, unneeded
from mmap_ninja.engine.generation import Generation, Identity, Newest
from mmap_ninja.errors import StaleHandleError
from mmap_ninja.format.meta import Meta


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a handle saw at one moment, in addition to its samples.

    Args:
        identity: The commit; None if there is no dataset yet.
        metadata: The user's.
        complete: Whether the build that made the dataset has ended.
        look: The look at the commit file; None if nothing relies on one.
    """

    identity: Identity | None
    metadata: dict[str, Any]
    complete: bool
    look: Look | None = None


class Seen:
    """One commit, and the open files that hold it; immutable."""

    __slots__ = ("_content", "edits", "extents", "generation", "num_edits", "rows", "seq", "slot")
    slot: _kernel.Slot
    seq: int
    rows: int
    num_edits: int
    generation: Generation
    extents: list[int]
    edits: _kernel.Edits

    def __init__(
        self,
        slot: _kernel.Slot,
        generation: Generation,
        extents: list[int],
        edits: _kernel.Edits | None = None,
        place: tuple[int, int, int, int | None] | None = None,
    ) -> None:
        self.slot = slot
        # Kept, since each commit needs them; the content is None if an older writer left it out.
        self.seq, self.rows, self.num_edits, self._content = place or slot.place
        self.generation = generation
        self.extents = extents
        if edits is None:
            edits = _kernel.Edits().apply(generation.edit_log(0, slot.edits), slot.rows, str(generation.path), 0)
        self.edits = edits

    @property
    def meta(self) -> Meta:
        """The meta of the generation."""
        return self.generation.meta

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, for the next batch: also tells which dtypes are not decided yet."""
        columns = self.meta.columns
        for place, payload in self.meta.undeclared:
            if not self.extents[payload] and self.rows:
                column = columns[place]
                column = replace(column, type=replace(cast("Ragged", column.type), undecided=True))
                columns = (*columns[:place], column, *columns[place + 1 :])
        return columns

    @property
    def num_samples(self) -> int:
        """The number of rows that no edit hides."""
        return self.slot.rows - self.edits.hidden

    @property
    def content(self) -> int:
        """The content sum: the sum of the hashes of all blocks."""
        content = self._content
        if content is None:
            content = self._content = self.generation.content_sum(self.slot, self.extents)
        return content

    @property
    def base(self) -> _kernel.Slot:
        """The slot from which the log continues, always with its content sum."""
        if self.slot.carries & _kernel.SUMS:
            return self.slot
        slot = self.slot.copy()
        slot.content = self.content
        return slot

    @property
    def identity(self) -> Identity:
        """Identifies this commit among all commits of all datasets."""
        slot = self.slot
        return Identity(slot.uuid, slot.generation, slot.meta_digest, slot.rows, slot.edits, self.content)

    @property
    def snapshot(self) -> Snapshot:
        """The commit, for views and pickles."""
        look = self.generation.commit.looked if self.generation.commit is not None else None
        complete = bool(self.slot.flags & _kernel.COMPLETE)
        return Snapshot(self.identity, self.meta.metadata, complete, None if self.slot.durable else look)

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored."""
        sizes = zip(self.meta.files, self.extents, unneeded(self.generation, self.edits), strict=True)
        return sum(extent - unused for file, extent, unused in sizes if file.role == "data")

    @property
    def garbage(self) -> int:
        """Bytes of the files that no sample needs."""
        return sum(unneeded(self.generation, self.edits)) + self.extents[self.meta.edits_index]

    def edits_of(self, slot: _kernel.Slot) -> _kernel.Edits:
        """The edits of a commit that continues this one; only new ones are read."""
        known = self.slot.edits
        if known == slot.edits:
            return self.edits
        return self.edits.apply(
            self.generation.edit_log(known, slot.edits), slot.rows, str(self.generation.path), known
        )

    def check(self, edit: Edit, looked_in: "Seen | None") -> None:
        """Raise StaleHandleError if the samples of an edit are no longer there.

        Args:
            edit: The edit.
            looked_in: The commit in which they were looked up, if known.
        """
        path = self.generation.path
        if (
            looked_in is not None
            and looked_in is not self
            and looked_in.slot.generation == self.slot.generation
            and not self.goes_on_from(looked_in.identity)
        ):
            raise StaleHandleError(
                f"{path}: the dataset was rolled back after this handle's snapshot, as by restoring a backup in place; "
                "nothing was changed: call refresh() and look again"
            )
        edit.check(self.meta.numbering, self.edits, str(path))

    def is_followed_by(self, found: Newest) -> bool:
        """Whether the newest commit, of the same generation, continues this one."""
        commit = self.generation.commit
        looked = commit.looked if commit is not None else None
        kept = looked is not None and any(slot.is_same(self.slot) for _, slot in looked.slots)
        if kept and found.slot.seq > self.slot.seq:
            return True
        # Compares the content sums.
        return Seen(found.slot, found.generation, found.extents, self.edits).goes_on_from(self.identity)

    def goes_on_from(self, identity: Identity) -> bool:
        """Whether this commit continues another one of its generation: contains all of it, and only added to it."""
        own = self.slot
        if identity == Identity.of_0x(own.uuid, own.generation, identity.rows):  # from before the upgrade
            return identity.rows <= own.rows
        if identity[:3] != (own.uuid, own.generation, own.meta_digest):
            return False
        if (identity.rows, identity.edits) == (own.rows, own.edits):
            return identity.content == self.content
        if identity.rows > own.rows or identity.edits > own.edits:
            return False
        earlier = self.generation.extents(identity.rows, identity.edits)
        if any(before > now for before, now in zip(earlier, self.extents, strict=True)):
            return False
        return identity.content == self.generation.content_before(self.content, self.extents, earlier)

    def at(self, identity: Identity) -> "Seen":
        """An earlier commit of the same generation.

        Raises:
            StaleHandleError: if the dataset no longer holds it.
        """
        own = self.slot
        if not self.goes_on_from(identity):
            why = (
                "it was rolled back since, as by a power loss or a restored backup"
                if identity[:3] == (own.uuid, own.generation, own.meta_digest)
                else "its files were written anew since, as by compact, clear, a replacement, or a change of columns "
                "or metadata; or the commit is of another dataset"
            )
            raise StaleHandleError(
                f"{self.generation.path}: does not hold commit {identity.commit_id}: {why}; open the path again to see "
                "what is there now"
            )
        if (identity.rows, identity.edits) == (own.rows, own.edits):
            return self
        slot = own.copy()
        slot.rows, slot.edits = identity.rows, identity.edits
        extents = self.generation.extents(slot.rows, slot.edits)
        slot.content = self.generation.content_before(self.content, self.extents, extents)
        slot.carries |= _kernel.SUMS
        return Seen(slot, self.generation, extents)
