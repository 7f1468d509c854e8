"""LitData, read from local disk."""

import litdata

from systems import store


class Texts(store.Texts):
    LIMITS = {"index": 500}

    def __init__(self, path):
        self.samples = litdata.StreamingDataset(str(path), shuffle=False)

    @staticmethod
    def build(samples, path):
        litdata.optimize(
            fn=str,  # stores the input as it is
            inputs=samples,
            output_dir=str(path),
            chunk_bytes="64MB",
            num_workers=1,
            verbose=False,
            keep_data_ordered=True,
        )
