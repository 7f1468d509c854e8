"""Building a dataset from many samples: where they come from, in which process they are made, and how it resumes."""
