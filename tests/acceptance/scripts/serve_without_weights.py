"""A server whose model has no weights, so that it starts in a second: serve_without_weights.py FOLDER PORT [SECONDS].

Judging a batch takes SECONDS, by default none.
"""

import logging
import sys
import time
from pathlib import Path

import rankrag
from rankrag.models.fake import FakeLanguageModel
from rankrag.server.app import Engine, ServerSettings, create_app
from rankrag.server.collections import Collections
from rankrag.server.running import Server

SETTINGS = rankrag.AskConfig(retriever="bm25", n=3, k=1)
folder, port, seconds = Path(sys.argv[1]), int(sys.argv[2]), float((*sys.argv, 0)[3])
logging.basicConfig(level=logging.ERROR)


class Quick(FakeLanguageModel):
    """Keeps no prompts, so that its memory does not grow."""

    def choice_logprobs(self, prompts, choices):
        time.sleep(seconds)
        self.prompts.clear()
        return super().choice_logprobs(prompts, choices)


model = Quick(yes_if="longest", reply="a reply")


def engine() -> Engine:
    return Engine(model, None, lambda index: rankrag.load(index, SETTINGS, model=model))


app = create_app(engine, Collections([folder / "kill.index"], folder / "collections"), ServerSettings())
Server(app, host="127.0.0.1", port=port, stop_seconds=120).until_stopped()
