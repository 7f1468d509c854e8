"""The ceiling of a parallel build: processes that make their share of the samples and store nothing."""

from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise, repeat
from multiprocessing import get_context


class Ragged:
    LIMITS = {}
    LEFT_OUT = {"peak_memory"}

    @staticmethod
    def from_indexable(source, _, __, n_jobs):
        bounds = [len(source) * share // (n_jobs or 1) for share in range((n_jobs or 1) + 1)]
        shares = [range(start, end) for start, end in pairwise(bounds)]
        if n_jobs is None:
            make(source, shares[0])
        else:
            with ProcessPoolExecutor(n_jobs, get_context("spawn")) as pool:
                list(pool.map(make, repeat(source), shares))


def make(source, share):
    for index in share:
        source[index]
