"""Calls of frameworks that pin an older cohere, unchanged; prints a row of JSON for each."""

import json
import sys
from importlib.metadata import version

import cohere
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank as LlamaCohere
from llama_index.postprocessor.jinaai_rerank import JinaRerank

URL = sys.argv[1]
QUERY = "What is the longest river of the Iberian Peninsula?"
DOCUMENTS = ["Bread is baked.", "The Tagus is the longest river of the Iberian Peninsula.", "Chess has kings."]


def row(client: str, call: str, found: object) -> None:
    print(json.dumps({"client": client, "call": call, "found": found}))


client = cohere.ClientV2(api_key="key", base_url=URL)
found = client.rerank(model="m", query=QUERY, documents=DOCUMENTS)
row(f"cohere {cohere.__version__}", "rerank v2", [r.index for r in found.results])
compressor = CohereRerank(client=client, model="m", top_n=1)
kept = compressor.compress_documents([Document(page_content=d) for d in DOCUMENTS], QUERY)
row(f"langchain-cohere {version('langchain-cohere')}", "CohereRerank", [d.page_content for d in kept])
nodes = [NodeWithScore(node=TextNode(text=d)) for d in DOCUMENTS]
kept = LlamaCohere(api_key="key", model="m", base_url=URL, top_n=1).postprocess_nodes(nodes, query_str=QUERY)
row(f"llama-index {version('llama-index-core')}", "CohereRerank", [n.node.text for n in kept])
kept = JinaRerank(api_key="key", model="m", base_url=f"{URL}/v1", top_n=1).postprocess_nodes(nodes, query_str=QUERY)
row(f"llama-index {version('llama-index-core')}", "JinaRerank", [n.node.text for n in kept])
