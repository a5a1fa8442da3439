from __future__ import annotations

import pytest

from rankrag import opening
from rankrag.config.answering import AskConfig
from rankrag.contract import Contract
from rankrag.documents.parts import SourcePassages
from rankrag.models import state_folder
from rankrag.models.fake import FakeLanguageModel
from rankrag.models.state_folder import MARK
from rankrag.opening import STATES, load, open_model, open_nearness
from rankrag.retrieval import homes
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.store import PassageStore
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question, StateUse

from .conftest import save_random


def judged(model):
    prompt = ranking_prompt(model.contract.format, Question("q", "why?"), Passage("p", "so"))
    return model.choice_logprobs(model.encode([prompt]), model.contract.labels)


def test_a_folder_keeps_states_for_the_next_process(tiny_model_dir, tmp_path):
    folder = tmp_path / "states"
    first, second = (
        open_model(str(tiny_model_dir), dtype="float32", state_cache=folder, say=pytest.fail) for _ in range(2)
    )
    before = judged(first)[0]
    first.states.write()
    assert judged(second)[0] == pytest.approx(before, abs=1e-5)
    assert second.info.states == StateUse(1, 1)
    assert (folder / MARK).is_file()


@pytest.fixture
def index(tmp_path):
    store = PassageStore.create_or_open(tmp_path / "index")
    store.put([SourcePassages("rivers", "0", (Passage("p", "The Tagus is a river."),))])
    return tmp_path / "index"


def asked(index, tiny_model_dir, **settings):
    """Ask as `rankrag ask` does in a process of its own; return the use of states and the P(True) of the passage."""
    said = []
    config = AskConfig(model=str(tiny_model_dir), retriever="bm25", dtype="float32", **settings)
    rag = load(index, config, say=said.append)
    answer = rag.ask("Which river?")
    if rag.model.states:
        rag.model.states.write()
    return answer.states, answer.relevance["p"], said


def test_states_are_kept_in_the_index_without_asking(index, tiny_model_dir):
    first, p_true, _ = asked(index, tiny_model_dir)
    second, again, said = asked(index, tiny_model_dir)
    assert (first, second) == (StateUse(0, 1), StateUse(1, 1))
    assert again == pytest.approx(p_true, abs=1e-6)
    assert said == []
    assert (index / STATES / MARK).is_file()


@pytest.mark.parametrize("where", ["memory", "off"])
def test_nothing_is_written_into_the_index_where_the_user_says_so(index, tiny_model_dir, where):
    asked(index, tiny_model_dir, state_cache=where)
    assert not (index / STATES).exists()


def test_an_index_that_cannot_be_written_costs_no_line_and_no_score(index, tiny_model_dir, monkeypatch):
    _, p_true, _ = asked(index, tiny_model_dir, state_cache="off")
    monkeypatch.setattr(homes.os, "access", lambda *_: False)
    states, again, said = asked(index, tiny_model_dir)
    assert (states, said) == (StateUse(0, 1), [])
    assert again == pytest.approx(p_true, abs=1e-6)
    assert not (index / STATES).exists()


def test_a_full_disk_is_said_once_and_moves_no_score(index, tiny_model_dir, monkeypatch):
    _, p_true, _ = asked(index, tiny_model_dir, state_cache="off")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_folder, "save_file", full)
    _, again, said = asked(index, tiny_model_dir)
    assert again == pytest.approx(p_true, abs=1e-6)
    (line,) = said
    assert "No space left on device" in line


def test_a_download_at_the_first_question_is_heard_of(index, tiny_model_dir, monkeypatch):
    def download(name, say, progress):
        progress("Downloading Toy (MB)", 1, 2)
        return str(tiny_model_dir)

    monkeypatch.setattr(opening, "resolve_model", download)
    heard = []
    load(index, AskConfig(retriever="bm25"), progress=lambda *one: heard.append(one))
    assert heard == [("Downloading Toy (MB)", 1, 2)]


def test_off_keeps_nothing(tiny_model_dir):
    assert open_model(str(tiny_model_dir), dtype="float32").info.states is None


def test_a_model_without_shared_prefixes_says_why_a_folder_is_not_used(tokenizer, tmp_path):
    directory = save_random("bloom", tokenizer, tmp_path / "bloom", hidden_size=32, n_layer=1, n_head=2)
    said = []
    model = open_model(str(directory), dtype="float32", state_cache=tmp_path / "states", say=said.append)
    assert said == [f"state_cache {tmp_path / 'states'}: not used, bloom models cannot share a prefix"]
    assert model.info.states is None
    assert not (tmp_path / "states").exists()


class Named:
    """Stands for an encoder."""

    def __init__(self, name):
        self.name = name


def test_nearness_is_by_the_encoder_that_the_contract_was_fitted_with():
    contract = Contract(similarity_weight=11.0, similarity_encoder="own@1")
    own = Named("own@1")
    found = open_nearness(contract, own, pytest.fail)
    assert (found.encoder, found.weight) == (own, 11.0)
    said = []
    assert open_nearness(contract, Named("other@1"), said.append) is None
    assert said == ["The final order was fitted with own@1, which is not here; the model orders alone."]


def test_minilm_takes_the_place_of_an_index_s_own_encoder():
    contract = Contract(similarity_weight=11.0, similarity_encoder=Encoder().name)
    for other in (None, Named("other@1")):
        assert open_nearness(contract, other, pytest.fail).encoder.name == Encoder().name


def test_a_contract_without_a_weight_adds_nothing():
    assert open_nearness(Contract(), Named("own@1"), pytest.fail) is None


def test_vectors_of_the_index_are_not_made_again(tmp_path, monkeypatch):
    made = []

    def encode(self, passages):
        made.extend(passage.id for passage in passages)
        return encode_passages(self, passages)

    encode_passages = Encoder.encode_passages
    store = PassageStore.create_or_open(tmp_path)
    rivers = tuple(Passage(name, f"The {name} is a river.") for name in ("Tagus", "Ebro"))
    store.put([SourcePassages("rivers", "0", rivers)])
    model = FakeLanguageModel(contract=Contract(similarity_weight=11.0, similarity_encoder=Encoder().name))
    monkeypatch.setattr(Encoder, "encode_passages", encode)
    load(tmp_path, AskConfig(retriever="bm25"), model=model).ask("river Tagus")
    assert sorted(made) == ["Ebro", "Tagus"]
    store.fill_vectors(Encoder())
    made.clear()
    for retriever in ("hybrid", "bm25"):
        answer = load(tmp_path, AskConfig(retriever=retriever), model=model).ask("river Tagus")
        assert answer.reranked[0].passage.id == "Tagus"  # the model finds all alike
    assert made == []
    assert load(tmp_path, AskConfig(rerank=False), model=model).nearness is None
    assert load(tmp_path, AskConfig(similarity=False), model=model).nearness is None
