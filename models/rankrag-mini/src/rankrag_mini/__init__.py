"""The adapter of rankrag-mini as data files; `rankrag.models.mini` finds and merges them."""
