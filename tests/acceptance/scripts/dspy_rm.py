"""Our retrieval model in DSPy, over a server: dspy_rm.py URL. Prints a row of JSON for each call."""

import json
import sys

import dspy

import rankrag
from rankrag.integrations.dspy import RankragRM

URL = sys.argv[1]
QUERY = "What is the longest river of the Iberian Peninsula?"


def row(call: str, found: object) -> None:
    print(json.dumps({"client": f"dspy {dspy.__version__}", "call": call, "found": found}))


rm = RankragRM(rankrag.Searcher(URL), k=1)
row("our rm", [one.place.split(",")[0] for one in rm(QUERY)])
dspy.configure(rm=rm)
row("our rm through dspy.Retrieve", ["Tagus" in text for text in dspy.Retrieve(k=1)(QUERY).passages])
