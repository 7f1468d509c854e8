"""From and to what others store: `convert` and `export`; a module for the formats of a sort, `from_*` and `to_*`."""
