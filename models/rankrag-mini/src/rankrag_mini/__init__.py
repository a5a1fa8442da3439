"""The adapter of rankrag-mini as data files; `rankrag.models.prepared` finds and merges them."""
