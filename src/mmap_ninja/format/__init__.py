"""The files of a dataset as bytes: names, the meta file, commit slots. Nothing here reads or writes one."""
