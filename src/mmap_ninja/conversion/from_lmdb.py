"""Databases of LMDB: their values as bytes, in the order of the keys."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from mmap_ninja.columns import specs
from mmap_ninja.conversion.from_texts import decoded
from mmap_ninja.conversion.libraries import imported
from mmap_ninja.conversion.shards import Shards
from mmap_ninja.conversion.source import Skipped, Source, Wanted

FORM: Final = "LMDB"

_FILE: Final = "data.mdb"  # of a database that is a folder
_DATABASES: Final = 128  # named ones that are looked for in a file
# A process may open a database only once, and an interrupted conversion may still hold it.
_OPENED: Final[WeakValueDictionary[Path, Any]] = WeakValueDictionary()


def is_database(folder: Path) -> bool:
    """Whether a folder is a database."""
    return (folder / _FILE).is_file()


def database(path: Path, wanted: Wanted) -> Source:
    """A folder with a database, or a single file; with `with_path`, records of keys and values.

    A file that holds named databases needs `dataset`, unless it is one. No value is ever unpickled.
    """
    path = path.parent if path.name == _FILE else path
    env = _opened(path)
    with _naming(path):
        name = _chosen(env, path, wanted.dataset)
    is_records = wanted.with_path or wanted.kind == "records"
    columns = wanted.over({"key": specs.Bytes(), "value": specs.Bytes()}, path) if is_records else {}

    def read(file: Path, skipped: Skipped | None) -> Iterator[tuple[str, Any]]:
        env = _opened(file)
        with _naming(file), env.begin(_database(env, name)) as transaction:
            for key, value in transaction.cursor():
                where = f"{file}, key {key!r:.80}"
                if not is_records:
                    yield where, value
                    continue
                try:
                    yield where, _record(key, value, columns, where)
                except ValueError as error:
                    if skipped is None:
                        raise
                    skipped.note(where, error)

    samples = Shards([path], read, wanted.skipped)
    return Source(
        form=FORM if name is None else f"{FORM}, {name!r}",
        kind="records" if is_records else "bytes",
        samples=samples,
        columns=columns,
        total=_entries(env, name),
        place=samples.place,
    )


def _record(key: bytes, value: bytes, columns: dict[str, specs.Spec], where: str) -> dict[str, Any]:
    fields = {"key": key, "value": value}
    return {
        name: decoded(of, f"{where}: its {name}") if isinstance(columns[name], specs.Text) else of
        for name, of in fields.items()
    }


def _file(path: Path) -> Path:
    """The file of a database."""
    return path / _FILE if path.is_dir() else path


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the database in what LMDB raises about a damaged one."""
    lmdb = imported("lmdb", "lmdb", path)
    try:
        yield
    except lmdb.Error as error:
        raise ValueError(f"{_file(path)}: LMDB cannot read it: {error}") from None


def _opened(path: Path) -> Any:
    """The database at a path, which closes with the last reference to it.

    Raises:
        ValueError: if it is none, or was not copied to its end.
    """
    if (known := _OPENED.get(path.resolve())) is not None:
        return known
    lmdb, is_folder = imported("lmdb", "lmdb", path), path.is_dir()
    file = _file(path)
    lock = path / "lock.mdb" if is_folder else Path(f"{path}-lock")
    # Readers register in the lock, so that a writer does not reuse the pages that they see.
    may_lock = os.access(lock if lock.exists() else lock.parent, os.W_OK)
    with _naming(path):
        env = lmdb.open(str(path), subdir=is_folder, readonly=True, lock=may_lock, max_dbs=_DATABASES)
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if file.stat().st_size < needed:  # reading beyond the end would kill the process
        raise ValueError(
            f"{file}: expected {needed} bytes, found {file.stat().st_size}; copy it again, or make a whole one of the "
            "original with mdb_copy -c"
        )
    _OPENED[path.resolve()] = env
    return env


def _chosen(env: Any, path: Path, dataset: str | None) -> str | None:
    """The named database to read; None for that without a name, which holds the names of others."""
    names = _names(env)
    if dataset is None and len(names) <= 1:
        return next(iter(names), None)
    if dataset not in names:
        asked = "one database" if dataset is None else f"a database {dataset!r}"
        raise ValueError(f"{path}: expected {asked}, found {names!r:.400}; name one of these by dataset= (--dataset)")
    return dataset


def _names(env: Any) -> list[str]:
    """The named databases in a file: if the first entry is one, all are."""
    lmdb, names = imported("lmdb", "lmdb", Path(env.path())), list[str]()
    with env.begin() as transaction:
        keys = list(transaction.cursor().iternext(values=False)) if env.stat()["entries"] <= _DATABASES else []
    for key in keys:
        try:
            env.open_db(key, create=False)
        except lmdb.Error:
            return names
        names.append(key.decode())
    return names


def _database(env: Any, name: str | None) -> Any:
    return None if name is None else env.open_db(name.encode(), create=False)


def _entries(env: Any, name: str | None) -> int:
    named = _database(env, name)
    with env.begin(named) as transaction:
        entries: int = env.stat()["entries"] if named is None else transaction.stat(named)["entries"]
    return entries
