"""Everything that is read from or written to files: rows, sets, runs, journals."""
