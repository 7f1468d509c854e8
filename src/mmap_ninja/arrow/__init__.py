"""Export to and import from pyarrow and other libraries with Arrow's protocols."""
