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
        ({"score": "layer_head"}, "'layer_head' is no longer a score; set 'score' to 'true_vs_false'"),
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


NO_OBJECT = ([], "x", 3, None, True)
NO_TEXT = (None, 3, 1.5, True, ["a"], {"a": 1})
NO_WHOLE = (None, "7", 1.5, True, [7], {})
NO_NUMBER = ("soon", True, [1.0], {}, float("nan"), float("inf"), -float("inf"))
MALFORMED = [
    ({"version": 2}, "contract version 2, this rankrag reads version 1"),
    ({"version": None}, "contract version None"),
    ({"colour": "red"}, "unknown field 'colour', known are abstain_below, base_sha256"),
    ({"format": {"colour": "red"}}, "unknown field 'format.colour', known are history_turns, layout"),
    ({"format": {"turns": {"colour": "red"}}}, "unknown field 'format.turns.colour', known are assistant_to_user"),
    ({"format": {"wordings": {"colour": "red"}}}, "unknown field 'format.wordings.colour', known are arithmetic"),
    *(({"format": value}, "'format'.*: must be an object") for value in NO_OBJECT),
    *(({"format": {"turns": value}}, "'format.turns'.*: must be an object") for value in NO_OBJECT),
    *(({"format": {"wordings": value}}, "'format.wordings'.*: must be an object") for value in NO_OBJECT),
    ({"format": {"layout": "sideways"}}, "'format.layout' is 'sideways': must be 'passage_first' or"),
    ({"format": {"turns": {"name": "sideways"}}}, "'format.turns.name' is 'sideways': must be 'plain' or"),
    *(
        ({"format": {"turns": {part.name: value}}}, rf"'format.turns\.{part.name}'")
        for part in dataclass_fields(Turns)
        for value in NO_TEXT
    ),
    *(
        ({"format": {"wordings": {part.name: value}}}, rf"'format.wordings\.{part.name}'")
        for part in dataclass_fields(Wordings)
        for value in NO_TEXT
    ),
    *(
        ({"format": {"wordings": {part.name: text}}}, f"wording '{part.name}' must hold .question. exactly once")
        for part in dataclass_fields(Wordings)
        for text in ("no place", "{question} {question}")
        if part.name != "system"
    ),
    *(({"format": {"history_turns": value}}, "'format.history_turns' is .*: must be") for value in NO_WHOLE),
    ({"format": {"history_turns": -1}}, "'history_turns' must be 0 or above"),
    *(({"labels": value}, "'labels") for value in ("TF", None, 3, ["True"], ["a", "b", "c"], ["True", 3], {})),
    *(({"labels": value}, "'labels' .*: must be two different words") for value in (["True", "True"], ["", "False"])),
    *(({"label_ids": value}, "'label_ids") for value in (3, None, "34", [3, None], [3, "4"], [3.0, 4.0], [True, 4])),
    *(({"label_ids": value}, "must be two different token ids") for value in ([3], [3, 3], [-1, 4], [1, 2, 3])),
    ({"label_ids": {"3": 4}}, "'label_ids'"),
    *(({"score": value}, "'score' is .*: must be 'true' or 'true_vs_false'") for value in ("best", None, 3)),
    *(({"history_query": value}, "'history_query' is .*: must be 'last'") for value in ("first", None, 3)),
    *(
        ({name: value}, f"'{name}' is .*: must be")
        for name in ("passage_tokens", "max_tokens", "k")
        for value in (*NO_WHOLE, 0, -1)
    ),
    *(
        ({name: value}, f"'{name}' is .*: must be")
        for name in ("abstain_below", "similarity_weight", "settled_from")
        for value in NO_NUMBER
    ),
    ({"similarity_weight": None}, "'similarity_weight' is None: must be"),
    *(
        ({name: value}, f"'{name}' is .*: must be a valid string")
        for name in ("similarity_encoder", "base_sha256")
        for value in NO_TEXT
    ),
    ({"similarity_weight": 1.0}, "'similarity_encoder' is empty, but must be the name of the encoder"),
]


@pytest.mark.parametrize(("fields", "problem"), MALFORMED)
def test_a_malformed_contract_is_refused_where_it_is_wrong(changed, fields, problem):
    with pytest.raises(ContractError, match=problem) as caught:
        load_contract(changed(**fields))
    assert str(caught.value).startswith(str(changed() / FILE_NAME))
    assert ";" in str(caught.value)  # what to do comes last


def test_all_wrong_values_are_named_together(changed):
    with pytest.raises(ContractError, match=r"'score'.*; .*'max_tokens'"):
        load_contract(changed(score="best", max_tokens=-1))


def test_label_ids_are_filled_in_once():
    assert with_label_ids(Contract(), [5, 6]).label_ids == (5, 6)


def test_other_label_ids_mean_another_tokenizer():
    with pytest.raises(ContractError, match="not the one the model was trained with"):
        with_label_ids(Contract(label_ids=(1, 2)), [5, 6])
