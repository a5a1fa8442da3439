"""LangChain's own tests of retrievers, over a server: RANKRAG_URL."""

import os

from langchain_tests.integration_tests import RetrieversIntegrationTests

from rankrag.integrations.langchain import RankragRetriever


class TestRankragRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return RankragRetriever

    @property
    def retriever_constructor_params(self):
        return {"index": os.environ["RANKRAG_URL"]}

    @property
    def retriever_query_example(self):
        return "Which river is the longest?"
