"""An index in a bucket: immutable versions there, and a snapshot of one of them on each machine's disk."""
