"""The schemas of every YAML file, and how such a file is read. A file holds only what differs from the defaults."""
