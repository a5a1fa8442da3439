"""One language model that ranks passages and answers from them: an open RankRAG (arXiv 2407.02485)."""
