"""One language model that ranks passages and answers from them: an open RankRAG (arXiv 2407.02485).

::

    import rankrag

    rag = rankrag.load("INDEX")
    answer = rag.ask("Who wrote the first algorithm for the Analytical Engine?")
    print(answer.text, answer.cited)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rankrag.errors import RankragError
from rankrag.types import Answer, Message, Passage, Question, Ranking, ScoredPassage, Source

if TYPE_CHECKING:
    from rankrag.config.answering import AskConfig
    from rankrag.integrations.reranker import Reranker, Searcher
    from rankrag.opening import load

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


_LAZY = {
    "AskConfig": "config.answering",
    "Reranker": "integrations.reranker",
    "Searcher": "integrations.reranker",
    "load": "opening",
}
"""Names whose modules import much: they are imported when the name is first used."""


def __getattr__(name: str) -> object:
    """Return a lazy name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'rankrag' has no attribute {name!r}")
    return getattr(import_module(f"rankrag.{_LAZY[name]}"), name)
