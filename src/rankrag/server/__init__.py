"""`rankrag serve`: one process, one set of weights, for rerankers, chats, agents and a web page."""
