"""One process appends, another reads: the reader sees new samples when it refreshes, and only whole commits."""

import multiprocessing
import tempfile
import time
from pathlib import Path

from mmap_ninja.string import StringsMmap


def write_events(path: Path) -> None:
    with StringsMmap(path) as events:
        for number in range(1, 6):
            events.append(f"event {number}")
            time.sleep(0.05)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "events")
        StringsMmap.from_strings(path, ["event 0"]).close()
        reader = StringsMmap(path)
        writer = multiprocessing.get_context("spawn").Process(target=write_events, args=(path,))
        writer.start()

        writing = True
        while writing:
            writing = writer.is_alive()  # before the refresh, so that nothing is missed
            seen = len(reader)  # does not change until refresh()
            reader.refresh()
            for event in reader[seen:]:
                print("the reader sees", event)
            time.sleep(0.01)
        print(len(reader), "events")


if __name__ == "__main__":
    main()
