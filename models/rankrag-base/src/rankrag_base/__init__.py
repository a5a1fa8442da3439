"""rankrag-base as data files: adapter and contract; `rankrag.models.prepared` merges them with the base."""
