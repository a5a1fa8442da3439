"""Thin adapters for other frameworks, each with an extra of its own; `rankrag.Reranker` and `Searcher` do the work."""
