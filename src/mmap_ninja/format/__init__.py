"""The files of a dataset as bytes: names, the meta file, commit slots. No I/O happens here."""
