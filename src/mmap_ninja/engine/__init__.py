"""Commits: the files of a dataset, its lock, and how batches, edits and new generations become durable."""
