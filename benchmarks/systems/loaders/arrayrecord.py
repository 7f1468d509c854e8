"""Grain over ArrayRecord, whose records are bytes."""

import struct

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from data.arrays import FIXED_SHAPE
from data.texts import labels

from systems.loaders import feed
from systems.loaders.grains import Pipeline, columns

FILE = "samples.array_record"
LABEL = struct.Struct("<q")


class Records(Pipeline):
    @staticmethod
    def opened(path):
        return grain.sources.ArrayRecordDataSource(str(path / FILE))

    @classmethod
    def build(cls, samples, path):
        path.mkdir(parents=True)
        writer = ArrayRecordWriter(str(path / FILE), "group_size:1,uncompressed")
        for record in cls.records(samples):
            writer.write(record)
        writer.close()


class Images(Records, feed.Images):
    LIMITS = {"all": 4000}

    @staticmethod
    def decode(record):
        return np.frombuffer(record, np.uint8).reshape(FIXED_SHAPE)

    @staticmethod
    def records(samples):
        return map(bytes, samples)


class Labelled(Records, feed.Labelled):
    LIMITS = {"all": 4000}
    collate = staticmethod(columns)

    @staticmethod
    def decode(record):
        return {"text": record[LABEL.size :].decode(), "label": LABEL.unpack_from(record)[0]}

    @staticmethod
    def records(samples):
        for text, label in zip(samples, labels(len(samples)).tolist(), strict=True):
            yield LABEL.pack(label) + text.encode()
