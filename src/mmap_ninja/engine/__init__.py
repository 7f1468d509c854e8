"""Commits: the files of a dataset, who may write them, and how a batch, an edit or a new generation becomes durable."""
