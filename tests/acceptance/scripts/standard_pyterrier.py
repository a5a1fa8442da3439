"""PyTerrier's own tests of transformers, over a server: RANKRAG_URL."""

import os

import pyterrier as pt
import pyterrier.testing

import rankrag
from rankrag.integrations.pyterrier import RankragTransformer

pt.documentation.objects_inv = dict  # PyTerrier fetches the addresses of its manual, which does not hold ours


class TestRankragTransformer(pyterrier.testing.TransformerTestCase):
    @staticmethod
    def get_transformer():
        return RankragTransformer(rankrag.Reranker(os.environ["RANKRAG_URL"]))

    def test_it_says_what_it_takes(self):
        inputs = pt.inspect.transformer_inputs(self.transformer)
        assert {"qid", "query", "docno", "text"} in [set(one) for one in inputs], inputs
