from __future__ import annotations

import json
from dataclasses import fields as dataclass_fields
from dataclasses import replace

import pytest

from rankrag.contract import (
    FILE_NAME,
    Contract,
    load_contract,
    save_contract,
    with_label_ids,
)
from rankrag.errors import ContractError
from rankrag.templates import Format, Turns, Wordings


@pytest.fixture
def changed(tmp_path):
    """Write a contract with these top-level fields changed; return the folder."""

    def write(**fields):
        save_contract(Contract(), tmp_path)
        found = json.loads((tmp_path / FILE_NAME).read_text())
        (tmp_path / FILE_NAME).write_text(json.dumps(found | fields))
        return tmp_path

    return write


def test_a_contract_comes_back_as_it_was_saved(tmp_path):
    form = Format(Turns("chat_template", start="<s>"), "question_first", 5, replace(Wordings(), rank="Is {question}?"))
    contract = Contract(form, ("Yes", "No"), (3, 4), "true", abstain_below=-1.5, similarity_weight=0.25)
    contract = replace(contract, similarity_encoder="minilm@1", settled_from=3.0)
    save_contract(contract, tmp_path)
    assert load_contract(tmp_path) == contract
    assert [p.name for p in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    ("fields", "instead"),
    [
        ({"head": {"layer": 3}}, "'head' was for ranking from a middle layer, which P.True. replaces; delete it"),
        ({"score": "layer_head"}, "'layer_head' is no score any more; set 'score' to 'true_vs_false'"),
        ({"first_stage_weight": 0.1}, "'first_stage_weight' is replaced by 'similarity_weight'"),
    ],
)
def test_a_retired_field_names_what_replaces_it(changed, fields, instead):
    with pytest.raises(ContractError, match=instead):
        load_contract(changed(**fields))


def test_a_directory_without_a_contract_has_none(tmp_path):
    assert load_contract(tmp_path) is None


@pytest.mark.parametrize(("text", "problem"), [("{oops", "not readable as JSON"), ("[]", "holds list")])
def test_a_broken_file_is_refused(tmp_path, text, problem):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ContractError, match=problem):
        load_contract(tmp_path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"version": 2}, "contract version 2, this rankrag reads version 1"),
        ({"version": None}, "contract version None"),
        ({"colour": "red"}, "unknown contract fields ..colour"),
        ({"format": {"colour": "red"}}, "unknown format fields"),
        ({"format": {"turns": {"colour": "red"}}}, "unknown turns fields"),
        ({"format": []}, "'format' must be an object"),
        ({"format": {"wordings": {"rank": "no place"}}}, "wording 'rank' must hold"),
        ({"format": {"wordings": {"rank": 3}}}, "wording 'rank' must hold"),
        ({"format": {"layout": "sideways"}}, "'layout' is 'sideways'"),
        ({"labels": ["True"]}, "'labels' must be two different words"),
        ({"labels": ["True", "True"]}, "'labels' must be two different words"),
        ({"labels": "TF"}, "'labels' must be two different words"),
        ({"score": "best"}, "'score' is 'best'"),
        ({"history_query": "first"}, "'history_query' is 'first'"),
        ({"max_tokens": 0}, "'max_tokens' is 0"),
        ({"k": 0}, "'k' is 0"),
        ({"passage_tokens": "many"}, "'passage_tokens' is 'many'"),
        ({"abstain_below": float("nan")}, "'abstain_below' is nan"),
        ({"similarity_weight": "x"}, "'similarity_weight' is 'x'"),
        ({"similarity_encoder": 3}, "'similarity_encoder' is 3"),
        ({"similarity_weight": 1.0}, "'similarity_encoder' is '', must be the name of the encoder"),
        ({"settled_from": "soon"}, "'settled_from' is 'soon'"),
        *(
            ({"label_ids": ids}, "'label_ids' must be two different token ids, or an empty list")
            for ids in (3, None, "34", [3], [3, 3], [3, None], [3, "4"], [3.0, 4.0], [True, 4], [-1, 4], {"3": 4})
        ),
        *(
            ({"format": {"turns": {part.name: value}}}, rf"'turns\.{part.name}' is {value}")
            for part in dataclass_fields(Turns)
            for value in (None, 3)
        ),
        *(
            ({"format": {"history_turns": value}}, "'history_turns' is .*, must be a whole number")
            for value in (None, "7", 1.5, True, -1)
        ),
        ({"base_sha256": 7}, "'base_sha256' is 7, must be a text"),
        ({"base_sha256": None}, "'base_sha256' is None"),
    ],
)
def test_a_wrong_field_is_named(changed, fields, problem):
    with pytest.raises(ContractError, match=problem):
        load_contract(changed(**fields))


def test_all_wrong_values_are_named_together(changed):
    with pytest.raises(ContractError, match=r"'score'.*; .*'max_tokens'"):
        load_contract(changed(score="best", max_tokens=-1))


def test_label_ids_are_filled_in_once():
    assert with_label_ids(Contract(), [5, 6]).label_ids == (5, 6)


def test_other_label_ids_mean_another_tokenizer():
    with pytest.raises(ContractError, match="not the one the model was trained with"):
        with_label_ids(Contract(label_ids=(1, 2)), [5, 6])
