"""ArrayRecord, as its performance guide sets it for random access."""

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from systems import store


class Texts(store.EncodedTexts):
    LEFT_OUT = {"pickle"}
    LIMITS = {"index": 10_000}

    def __init__(self, path):
        file = str(path / "texts.array_record")
        self.batched = ArrayRecordReader(file)
        self.single = ArrayRecordReader(file, "readahead_buffer_size:0,max_parallelism:0")

    def __len__(self):
        return self.batched.num_records()

    def iterate(self):
        return sum(map(len, [record.decode() for record in self.batched.read_all()]))

    def index(self, indices):
        reader, total = self.single, 0
        for index in indices:
            reader.seek(index)
            total += len(reader.read().decode())
        return total

    def encoded(self, batches):
        return map(self.batched.read, batches)

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        writer = ArrayRecordWriter(str(path / "texts.array_record"), "group_size:1,uncompressed")
        for text in samples:
            writer.write(text.encode())
        writer.close()
