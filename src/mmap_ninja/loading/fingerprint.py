"""What a state belongs to: which samples of which datasets, in which plan."""

# ruff: noqa: SLF001 - what handles pickle

import json
from typing import Any

from mmap_ninja.kinds.joined import Joined
from mmap_ninja.kinds.reading import ReadingHandle
from mmap_ninja.kinds.state import Drawn, Field, Selection
from mmap_ninja.kinds.windows import WindowSequence
from mmap_ninja.kinds.wrapped import Wrapped
from mmap_ninja.loading.orders import digest_of


def described(samples: Any) -> str:
    """Which samples these are, the same after more were appended to their dataset: in a few words."""
    if isinstance(samples, ReadingHandle):
        state = samples._now()  # what pickles know, too
        selection = _described_selection(state.selection_of(len(samples)))
        if isinstance(state.records._now() if isinstance(state, Field) else state, Joined):
            return f"concat({'; '.join(map(described, samples.parts))}) {selection}"
        identity = state.snapshot.identity
        named = "nothing" if identity is None else f"{identity.uuid.hex()} edits={identity.edits}"
        columns = [state.name] if isinstance(state, Field) else state.asked
        return f"{named} {'' if columns is None else f'columns={columns} '}{selection}"
    if isinstance(samples, WindowSequence):
        how = (samples.length, samples.stride, samples.within_samples)
        return f"windows{how} of {described(samples._samples)} {_described_selection(samples._selection)}"
    if isinstance(samples, Wrapped):
        return described(samples.data)
    return f"{type(samples).__name__} of {len(samples)}"


def _described_selection(selection: Selection) -> str:
    if isinstance(selection, range):
        return f"[{selection.start}:{selection.stop}:{selection.step}]"
    if isinstance(selection, Drawn):
        return f"{_described_selection(selection.base)} split {json.dumps(selection.parts)}"
    return f"{len(selection)} at {digest_of(selection)}"
