"""What a user holds: datasets of strings, bytes, arrays, ragged arrays and records as lists."""
