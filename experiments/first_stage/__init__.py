"""What finds the passages worth reranking: BM25 by field, vectors, learned sparse weights, and their fusions."""
