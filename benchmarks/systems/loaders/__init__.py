"""The same systems, where they feed a training loop: shuffled epochs in batches, set as their own pages recommend."""
