"""Adapters of rankrag.integrations, beside their frameworks: adapters.py URL, or adapters.py MODEL INDEX PACKAGES.

The first asks a server. The second works in process; PACKAGES is the folder of packages that hold torch and the model,
looked at after the framework's own. Prints a row of JSON for each call.
"""

import asyncio
import json
import site
import sys
from importlib.metadata import version

import pandas as pd
import pyterrier as pt
from haystack import Document as HaystackDocument
from haystack import Pipeline
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import rankrag
from rankrag.integrations.haystack import RankragRanker
from rankrag.integrations.haystack import RankragRetriever as HaystackRetriever
from rankrag.integrations.langchain import RankragCompressor, RankragCrossEncoder, RankragRetriever
from rankrag.integrations.llamaindex import RankragPostprocessor
from rankrag.integrations.llamaindex import RankragRetriever as LlamaRetriever
from rankrag.integrations.pyterrier import RankragTransformer

MODEL, INDEX, *PACKAGES = sys.argv[1:] * (1 if sys.argv[2:] else 2)
HERE = ", in process" if PACKAGES else ""
for folder in PACKAGES:
    site.addsitedir(folder)
QUERY = "What is the longest river of the Iberian Peninsula?"
DOCUMENTS = ["Bread is baked.", "The Tagus is the longest river of the Iberian Peninsula.", "Chess has kings."]
reranker, searcher = rankrag.Reranker(MODEL), rankrag.Searcher(INDEX)


def row(framework: str, call: str, found: object) -> None:
    print(json.dumps({"client": framework + HERE, "call": call, "found": found}))


def place_of(source: str) -> str:
    return source.split(",")[0].rpartition("/")[2]


row("rankrag", "Reranker", [d.text for d in reranker.rank(QUERY, DOCUMENTS, top_k=1)])
row("rankrag", "Searcher", [place_of(p.place) for p in searcher.search(QUERY, 1)])

name = f"langchain-core {version('langchain-core')}"
kept = RankragCompressor(reranker=reranker, top_n=1).compress_documents(
    [Document(page_content=d) for d in DOCUMENTS], QUERY
)
row(name, "our compressor", [d.page_content for d in kept])
row(name, "our cross-encoder", [round(s) for s in RankragCrossEncoder(reranker).score([(QUERY, d) for d in DOCUMENTS])])
row(name, "our retriever", [place_of(d.metadata["source"]) for d in RankragRetriever(index=INDEX, k=1).invoke(QUERY)])

name = f"llama-index-core {version('llama-index-core')}"
nodes = [NodeWithScore(node=TextNode(text=d)) for d in DOCUMENTS]
kept = RankragPostprocessor(reranker, top_n=1).postprocess_nodes(nodes, query_bundle=QueryBundle(QUERY))
row(name, "our postprocessor", [n.node.text for n in kept])
found = LlamaRetriever(searcher, top_k=1).retrieve(QUERY)
row(name, "our retriever", [place_of(n.node.metadata["source"]) for n in found])

name = f"haystack {version('haystack-ai')}"
pipeline = Pipeline()
pipeline.add_component("ranker", RankragRanker(MODEL, top_k=1))
documents = [HaystackDocument(content=d) for d in DOCUMENTS]
ranked = pipeline.run({"ranker": {"query": QUERY, "documents": documents}})["ranker"]["documents"]
row(name, "our ranker in a pipeline", [d.content for d in ranked])
again = RankragRanker.from_dict(RankragRanker(MODEL, top_k=1).to_dict())
ranked = asyncio.run(again.run_async(query=QUERY, documents=documents))["documents"]
row(name, "our ranker, stored and asynchronous", [d.content for d in ranked])
found = HaystackRetriever(INDEX, top_k=1).run(query=QUERY)["documents"]
row(name, "our retriever", [place_of(d.meta["source"]) for d in found])

name = f"pyterrier {version('pyterrier')}"
frame = pd.DataFrame([["1", QUERY, f"d{i}", text] for i, text in enumerate(DOCUMENTS)])
frame.columns = ["qid", "query", "docno", "text"]
frame["score"], frame["rank"] = 0.0, range(3)
row(name, "our transformer", list(RankragTransformer(reranker).transform(frame).sort_values("rank")["docno"])[:1])
assert pt.__name__
