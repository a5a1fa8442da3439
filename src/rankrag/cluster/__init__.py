"""Batches on a Ray cluster: workers on its nodes hold models, encoders and readers of documents (docs/cluster.md)."""
