"""One reader a format: each takes a file's bytes and writes what a reader of the document sees."""
