"""Docstrings of public names explain every parameter, with the same words for the same thing."""

import inspect
import re
from collections import defaultdict

import mmap_ninja

BUILDS = r".*\.(from_\w+|create|save)|np_from_\w+|convert"
NO_OTHER_KEY = {"StringsMmap.from_strings|RaggedMmap.from_lists": "inherited: a new dataset has no such folder"}

# Parameters with another explanation in some places, and why: patterns of names that share one.
APART = {
    "arr": {"np_append": "one sample"},
    "batch_size": {"Batches|Packing": "of all ranks", "Buckets": "may be None", r"Loader|.*\.loader": "of one rank"},
    "columns": {
        "RecordsMmap.create": "there are no samples that could tell",
        r".*\.filter": "names",
        "export": "names of those to write",
        r"Loader|.*\.loader": "a choice of them",
    },
    "copy_before_wrapper_fn": {"Wrapped": "copies samples of any type"},
    "data": {"Wrapped": "a list, no table"},
    "dataset": {"convert": "a name in a file"},
    "dtype": {
        "Scalar|Array|Ragged": "a declaration, so not None",
        r"RaggedMmap.take_padded|\w*Windows.take": "to read into",
        "Pad": "of batches",
    },
    "durability": {BUILDS: "of a build as a whole"},
    "epoch": {r"\w+.set_epoch": "not the first one"},
    "ends_key": NO_OTHER_KEY,
    "fill": {r"RecordsMmap.take|Loader|.*\.loader": "for several columns"},
    "flattened_shapes_key": NO_OTHER_KEY,
    "if_exists": {"export": "of a file", "merge": "knows fewer"},
    "length": {
        r"RaggedMmap.windows|\w*Windows": "of windows, not of boxes",
        "Packing": "of rows",
        "mix": "of epochs",
    },
    "kind": {"convert": "to make"},
    "level": {"Report": "that which was asked for"},
    "metadata": {"merge": "None: that of the first dataset", r".*\.save": "None: that of this dataset"},
    "mode": {
        BUILDS: "of the handle that is returned",
        "np_open_existing": "of a memmap",
        "open_existing": "only of some of what it returns",
    },
    "multiple_of": {"Buckets": "of samples, not of elements"},
    "n_jobs": {"convert": "reads files"},
    "nullable": {"Scalar|Array": "batches are arrays", "Json": "has a null of its own"},
    "order": {"Batches": "of an epoch, not of the dataset"},
    "out": {
        "export": "a path",
        "RaggedMmap.take_padded": "its shape depends on the samples",
        r"\w*Windows.take": "of windows",
    },
    "out_dir": {
        BUILDS: "it is made",
        "np_.*|open_existing": "it must be there",
        "RecordsMmap": "what makes the columns",
        "merge": "one of several directories",
        "recover": "one of several directories",
    },
    "path": {
        "upgrade": "who else may write to it",
        "Recovery": "one of several directories",
        "shared_list": "it is made, and may be None",
    },
    "sample_generator": {"np_from_generator": "of arrays of one shape only"},
    "samples": {
        "ArrayMmap.extend": "also an array",
        "RecordsMmap.extend": "also a dict of columns",
        "BytesMmap.from_bytes": "in memory already",
        "Problem": "ranges",
        "Recovery": "a number",
        "Report": "a number",
        r"\w*Windows": "of which windows are made",
    },
    "seed": {
        "mix": "of all epochs at once",
        "Shuffle|Weighted|Buckets|Packing": "of an order, so not None",
        r"Loader|.*\.loader": "also of `rng`",
    },
    "shapes_key": NO_OTHER_KEY,
    "starts_key": NO_OTHER_KEY,
    "stop": {"mix": "of epochs"},
    "value": {"RaggedMmap.take_padded|Pad": "to fill with"},
    "values": {"RecordsMmap.from_columns": "of all columns", "shared_list": "samples of any kind"},
    "weights": {"mix": "of datasets"},
    "window": {"Buckets": "of batches, not of blocks"},
    "world_size": {r"Loader|.*\.loader": "what happens to the last batch"},
    "wrapper_fn": {"Wrapped": "gets slices as a whole", "open_existing": "decides what is returned"},
}


def public():
    """All public callables, by name."""
    for name in mmap_ninja.__all__:
        named = getattr(mmap_ninja, name)
        if not callable(named) or (inspect.isclass(named) and issubclass(named, Exception)):
            continue
        yield name, named
        for member, of in inspect.getmembers(named) if inspect.isclass(named) else ():
            if not member.startswith("_") and (inspect.isfunction(of) or inspect.ismethod(of)):
                yield f"{name}.{member}", of


def explained(docstring):
    """The paragraphs of the section Args, by parameter."""
    section = re.search(r"^Args:\n((?: +.*\n?)+)", inspect.cleandoc(docstring), re.MULTILINE)
    found = re.findall(r"^    (\w+): ((?:.|\n {8})*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(paragraph.split()) for name, paragraph in found}


def parameters(called):
    return [
        parameter.name
        for parameter in inspect.signature(called).parameters.values()
        if parameter.name != "self" and not parameter.name.startswith("_")
    ]


def test_every_parameter_is_explained_in_the_order_of_the_signature():
    for name, called in public():
        made_by_users = name != "DatasetHandle"  # the classes of the kinds have parameters of their own
        assert list(explained(called.__doc__)) == (parameters(called) if made_by_users else []), name


def test_no_parameters_are_passed_through():
    for name, called in public():
        for parameter in inspect.signature(called).parameters.values():
            is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            assert not is_open or parameter.name == "_", name


def test_a_parameter_is_explained_in_the_same_words_everywhere():
    texts = defaultdict(lambda: defaultdict(set))
    for name, called in public():
        for parameter, text in explained(called.__doc__).items():
            pattern = next((p for p in APART.get(parameter, ()) if re.fullmatch(p, name)), None)
            texts[parameter][pattern].add(text)

    for parameter, found in texts.items():
        assert {pattern: texts for pattern, texts in found.items() if len(texts) > 1} == {}, parameter
        assert set(APART.get(parameter, ())) == set(found) - {None}, parameter
        assert all(words != found[None] for pattern, words in found.items() if pattern), parameter
    assert set(APART) <= set(texts)


def test_no_docstring_sends_the_reader_elsewhere():
    for name, called in public():
        assert not re.search(r"\b(As (for|before|above)|Likewise|those of)\b", called.__doc__), name
