from __future__ import annotations

import pytest
from pydantic import ValidationError

from rankrag.contract import Contract
from rankrag.data.catalogue import BENCHMARKS
from rankrag.errors import ConfigError
from rankrag.evaluation.systems import System


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": 2, "k": 3}, "n=2, k=3"),
        ({"ranker": "cross-encoder"}, "its ranker has no name"),
        ({"ranker": "oracle"}, "ranker 'oracle' is not known"),
        ({"retriever": "bm25", "encoder": "dpr-nq"}, "encoder: bm25 needs none"),
        ({"model": "none"}, "model: none, so its ranker needs a name"),
        ({"setting": "paper-8b", "n": 50}, "setting: paper-8b sets n, k, retriever, encoder and similarity itself"),
        ({"retriever": "none"}, r"closed book .* needs a model and ranker: none"),
        ({"retriever": "five", "rounds": 2}, "rounds: retriever five searches for nothing"),
        ({"ranker": "none", "settled_from": 2.0}, "settled_from: only a language model can stop early"),
    ],
)
def test_a_system_that_cannot_be_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        System(name="odd", **given)


def test_a_value_that_is_not_known_is_refused():
    with pytest.raises(ValidationError, match="rankr"):
        System(name="odd", rankr="none")


def test_k_and_the_turns_come_from_the_contract_where_the_system_does_not_say():
    contract = Contract(k=3, history_query="both")
    filled = System(name="a").with_contract(contract, None)
    assert filled.k == 3
    assert filled.history_query == "both"
    said = System(name="a", k=1, history_query="last").with_contract(contract, "all")
    assert said.k == 1
    assert said.history_query == "last"
    assert System(name="a", n=2).depth(contract) == 2


@pytest.mark.parametrize(
    ("values", "bound"),
    [
        ({}, 2.0),
        ({"settled_from": 1.0}, 1.0),
        ({"settled_from": None}, None),
        ({"k": 1}, None),
        ({"ranker": "none"}, None),
        ({"ranker": "cross-encoder:x"}, None),
        ({"setting": "paper-8b"}, None),
    ],
)
def test_the_bound_is_the_contracts_where_it_was_fitted_to_what_the_system_does(values, bound):
    assert System(name="a", **values).with_contract(Contract(k=3, settled_from=2.0), None).settled_from == bound


def test_a_contract_without_a_bound_judges_all():
    assert System(name="a").with_contract(Contract(k=3), None).settled_from is None


def test_the_papers_setting_is_filled_in_set_by_set():
    own = System(name="a", setting="paper-8b").on(BENCHMARKS["nq-kilt"].paper)
    assert own.first_stage == "dense by dragon-plus"
    assert own.n == 100
    assert own.k == 5
    assert not own.similarity
    assert not own.abstain
    assert own.settled_from is None
    with pytest.raises(ConfigError, match="works only for the sets of the paper"):
        System(name="a", setting="paper-8b").on(None)


def test_the_models_of_a_system_are_the_ranker_and_the_one_that_answers():
    assert System(name="a", model="x").models == ("x",)
    assert System(name="a", model="x", ranker="model:y").models == ("y", "x")
    assert System(name="a", model="none", ranker="model:y").models == ("y",)
    assert System(name="a", model="x", ranker="cross-encoder:y").models == ("x",)


def test_every_name_has_a_folder_of_its_own():
    names = {System(name=name).folder for name in ("a b", "a-b", "a/b", "ä")}
    assert len(names) == 4
    assert all(name.startswith("system-") and "/" not in name for name in names)
