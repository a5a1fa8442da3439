"""rankrag-base as data files: contract, and adapter once it is trained; `rankrag.models.prepared` merges them."""
