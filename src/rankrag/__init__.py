"""One language model that ranks passages and answers from them: an open RankRAG (arXiv 2407.02485).

::

    import rankrag

    rag = rankrag.load("INDEX")
    answer = rag.ask("Who wrote the first algorithm for the Analytical Engine?")
    print(answer.text, answer.cited)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankrag.errors import RankragError
from rankrag.types import Answer, Message, Passage, Question, Ranking, ScoredPassage, Source

if TYPE_CHECKING:
    from rankrag.config.answering import AskConfig
    from rankrag.opening import load
    from rankrag.reranker import Reranker, Searcher

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AskConfig",
    "Message",
    "Passage",
    "Question",
    "Ranking",
    "RankragError",
    "Reranker",
    "ScoredPassage",
    "Searcher",
    "Source",
    "load",
]


def __getattr__(name: str) -> object:
    """Import what is heavy only when it is asked for."""
    if name == "load":
        from rankrag import opening

        return opening.load
    if name in ("Reranker", "Searcher"):
        from rankrag import reranker

        return getattr(reranker, name)
    if name == "AskConfig":
        from rankrag.config import answering

        return answering.AskConfig
    raise AttributeError(f"module 'rankrag' has no attribute {name!r}")
