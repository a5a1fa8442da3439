"""Rows are written for these tests, in the schema in which each data set is published."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from rankrag.config.blend import Reader
from rankrag.config.evaluation import SetConfig
from rankrag.data.catalogue import BENCHMARKS, KNOWN_DEFECTS
from rankrag.data.public import READERS, converted
from rankrag.errors import DataError, Mistakes


def read(reader, *rows, companion=None):
    """Return (rows in our form, what was left out); `companion` is what a second file says."""
    located = [(f"{reader} row {i}", row) for i, row in enumerate(rows, start=1)]
    dropped: Counter[str] = Counter()
    mistakes = Mistakes()
    found = [row for _, row in converted(reader, located, dropped, mistakes.add, companion)]
    mistakes.raise_any()
    return found, dict(dropped)


def turns(*contents):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def contents(row):
    return [turn["content"] for turn in row["messages"]]


def test_every_reader_that_a_configuration_may_name_is_there():
    evaluated = {form for one in BENCHMARKS.values() for form in (one.schema, one.hub_schema) if form}
    own = set(get_args(SetConfig.model_fields["form"].annotation))
    assert {"rankrag", *READERS} == {*get_args(Reader), *own, *evaluated}
    assert set(KNOWN_DEFECTS) <= set(READERS)


def test_our_own_rows_pass_as_they_are():
    assert read("rankrag", {"id": "x"}) == ([{"id": "x"}], {})


@pytest.mark.parametrize("answers", [["In May."], [["In May.", "May"]], [{"text": "In May.", "answer_start": 3}]])
def test_chatqa_gives_the_conversation_its_document_and_all_answers(answers):
    row = {"messages": turns("Who?", "Ann.", "When?"), "document": "Ann came in May.", "answers": answers}
    ((found,), left) = read("chatqa", row)
    assert (found["question"], found["history"]) == ("When?", turns("Who?", "Ann."))
    assert found["answers"][0] == "In May."
    assert found["contexts"] == [{"text": "Ann came in May."}]
    assert not left


def test_chatqa_without_a_document_is_an_instruction():
    ((found,), _) = read("chatqa", {"messages": turns("Hello."), "answers": ["Good day."]})
    assert found["messages"] == turns("Hello.", "Good day.")


def test_chatqa_without_an_answer_is_left_out():
    row = {"messages": turns("When?"), "document": "d", "answers": []}
    assert read("chatqa", row) == ([], {"no question with an answer": 1})


def test_chatqa_that_ends_with_a_reply_has_it_for_its_answer():
    ((found,), _) = read("chatqa", {"messages": turns("Who?", "Ann."), "document": "Ann came in May."})
    assert (found["question"], found["history"], found["answers"]) == ("Who?", [], ["Ann."])


def test_ropes_without_its_situation_is_left_out():
    base = {"document": "Sugar sinks.", "answers": ["cup B"]}
    rows = [base | {"messages": turns(text)} for text in ("Which cup is sweeter?", "Is cup A or cup B sweeter?")]
    found, left = read("chatqa_ropes", *rows)
    assert [row["question"] for row in found] == ["Is cup A or cup B sweeter?"]
    ((reason, number),) = left.items()
    assert "situation is missing" in reason
    assert number == 1


def test_msmarco_gives_its_passages_with_labels_and_no_answer_where_there_is_none():
    passages = {"is_selected": [0, 1], "passage_text": ["no", "yes"], "url": ["u", "v"]}
    row = {
        "query_id": 7,
        "query": ") what is it",
        "query_type": "ENTITY",
        "wellFormedAnswers": [],
        "passages": passages,
    }
    unselected = passages | {"is_selected": [0, 0]}
    found, left = read(
        "msmarco",
        row | {"answers": ["It is."]},
        row | {"answers": ["No Answer Present."]},
        row | {"answers": [], "passages": unselected},
    )
    assert found[0]["candidates"] == [{"text": "no", "label": 0}, {"text": "yes", "label": 1}]
    assert [row["answers"] for row in found] == [["It is."], []]
    assert left == {"no passage is selected": 1}


def test_squad_gives_its_paragraph_and_each_answer_once():
    row = {"id": "q", "title": "A_b", "context": "c", "question": " Why? "}
    found, _ = read(
        "squad",
        row | {"answers": {"text": ["c", "c"], "answer_start": [0, 0]}},
        row | {"answers": {"text": [], "answer_start": []}},
    )
    assert [f["answers"] for f in found] == [["c"], []]
    assert found[0]["contexts"] == [{"title": "A b", "text": "c"}]
    assert found[0]["question"] == "Why?"


def test_dpr_gives_the_best_positive_and_the_hard_negatives():
    def context(number):
        return {"title": f"t{number}", "text": f"x{number}", "score": 1.0, "title_score": 0, "passage_id": str(number)}

    row = {
        "dataset": "webquestions",
        "question": "who?",
        "answers": ["x1"],
        "positive_ctxs": [context(1), context(2)],
        "negative_ctxs": [context(8)],
        "hard_negative_ctxs": [context(3)],
    }
    found, left = read("dpr", row, row | {"positive_ctxs": []})
    assert [(c["id"], c["label"]) for c in found[0]["candidates"]] == [("dpr/1", 1), ("dpr/3", 0)]
    assert left == {"no positive passage": 1}


def message(number, parent, role, rank=None, tree="m0", **more):
    return {
        "message_id": f"m{number}",
        "parent_id": parent,
        "message_tree_id": tree,
        "text": f"text {number}",
        "role": role,
        "rank": rank,
        "lang": "en",
        **more,
    }


def test_oasst_follows_the_best_reply_down_each_tree():
    rows = [
        message(0, None, "prompter"),
        message(1, "m0", "assistant", 1),
        message(2, "m0", "assistant", 0),
        message(3, "m1", "prompter", 0),
        message(4, "m2", "prompter", None),
        message(5, "m4", "assistant", None, deleted=False),
        message(9, None, "prompter", tree="m9"),
        message(10, "m9", "assistant", 0, tree="m9"),
        message(8, "gone", "assistant", 0, tree="m7"),
    ]
    found, left = read("oasst", *rows)
    assert contents(found[0]) == ["text 0", "text 2", "text 4", "text 5"]
    assert [turn["role"] for turn in found[0]["messages"]] == ["user", "assistant"] * 2
    assert contents(found[1]) == ["text 9", "text 10"]
    assert left == {"part of a tree without its first message": 1}


def test_dolly_puts_its_text_after_the_instruction():
    row = {"instruction": "Sum it up.", "context": "A text.", "response": "Short.", "category": "summarization"}
    found, _ = read("dolly", row, row | {"context": ""})
    assert [contents(f) for f in found] == [["Sum it up.\n\nA text.", "Short."], ["Sum it up.", "Short."]]


def test_soda_is_a_chat_of_two_who_take_turns():
    row = {"dialogue": ["Hi.", "Hello.", "Bye."], "speakers": ["Ann", "Bo", "Ann"], "narrative": "", "relation": "x"}
    found, left = read("soda", row, row | {"speakers": ["Ann", "Ann", "Bo"]}, row | {"speakers": ["A", "B", "C"]})
    assert found[0]["messages"] == turns("Hi.", "Hello.", "Bye.")
    assert len(found) == 1
    assert left == {"not two speakers who take turns": 2}


def test_eli5_gives_the_best_rated_answer():
    answers = {"a_id": ["a", "b"], "text": ["worse", "better"], "score": [1, 5]}
    row = {"q_id": "q", "title": "Why?", "selftext": "", "answers": answers}
    empty = {"a_id": [], "text": [], "score": []}
    found, left = read("eli5", row, row | {"answers": empty})
    assert contents(found[0]) == ["Why?", "better"]
    assert left == {"no answer": 1}


def test_flan_gives_inputs_and_targets():
    row = {"inputs": "Q", "targets": "A", "_task_name": "cot_gsm8k", "_template_type": "zs_opt"}
    assert contents(read("flan", row)[0][0]) == ["Q", "A"]


def test_self_instruct_loses_the_marks_of_its_model():
    row = {"prompt": "List two.\n\nOutput:", "completion": " one, two<|endoftext|>"}
    assert contents(read("self_instruct", row)[0][0]) == ["List two.", "one, two"]


def test_unnatural_instructions_give_one_row_an_instance():
    instances = [
        {"instruction_with_input": f"Do {i}", "input": str(i), "constraints": "None.", "output": f"{i}!"} for i in "ab"
    ]
    found, _ = read("unnatural_instructions", {"instruction": "Do", "instances": instances})
    assert [contents(f) for f in found] == [["Do a", "a!"], ["Do b", "b!"]]


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_row_of_another_set_is_named(reader):
    with pytest.raises(DataError, match=rf"{reader} row 1: no row of {reader}: .*found: "):
        read(reader, {"unexpected": 1})
    with pytest.raises(DataError, match=rf"{reader} row 1: .*{reader} row 2: .*{reader} row 3: "):
        read(reader, *({"unexpected": i, "message_tree_id": i} for i in range(3)))


def test_ids_are_made_from_the_content():
    rows = [{"inputs": "Q", "targets": t} for t in "AAB"]
    ids = [row["id"] for row in read("flan", *rows)[0]]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("schema", "row", "message"),
    [
        ("kilt", {"id": "1", "input": "x"}, r"no row of kilt: no 'output' \(found: id, input\)"),
        ("kilt_triviaqa", {"id": "1", "input": "", "output": []}, "has no text and is not in the file of TriviaQA"),
        ("dpr", {"question": "x", "answers": "['a'"}, "no row of dpr: "),
        ("popqa", {"id": 1, "question": "x", "possible_answers": "[", "s_pop": 1}, "no row of popqa: "),
        ("popqa", {"id": 1, "question": "x", "possible_answers": "[]", "s_pop": "many"}, "no row of popqa: "),
        ("chatrag", {"messages": [{"role": "assistant", "content": "x"}], "answers": []}, "is not the user's"),
        ("chatrag", {"messages": [], "answers": []}, "no row of chatrag: "),
        ("mirage", {"id": "1", "question": "x"}, "no row of mirage: no 'options'"),
        ("flashrag", {"id": "1", "question": "x"}, "no row of flashrag: no 'golden_answers'"),
    ],
)
def test_a_published_row_without_what_its_form_needs_is_named(schema, row, message):
    with pytest.raises(DataError, match=f"^{schema} row 1: .*{message}"):
        read(schema, row)


def test_public_forms_of_tables_of_the_hub():
    answer = {"value": "David Seville", "aliases": ["Seville", "David Seville"]}
    ((found,), _) = read("triviaqa", {"question_id": "tc_1", "question": "Who?", "answer": answer})
    assert found == {"id": "tc_1", "question": "Who?", "answers": ["David Seville", "Seville"]}
    ((found,), _) = read("nq_open", {"question": "when", "answer": ["1972"]})
    assert found == {"question": "when", "answers": ["1972"]}
    self_rag = {"id": 7, "question": "Who?", "answers": ["journalist"], "ctxs": []}
    ((found,), _) = read("popqa", self_rag)
    assert found == {"id": "7", "question": "Who?", "answers": ["journalist"]}


def test_rows_that_are_not_part_of_a_set_are_counted():
    assert read("popqa", {"id": 7, "question": "Who?", "answers": ["x"], "s_pop": 100}) == ([], {"not long tail": 1})
    assert read("beir", {"_id": "q", "text": "x"}) == ([], {"not judged": 1})


def test_an_instruction_with_a_text_becomes_a_question_about_it():
    row = {"id": "x", "has_context": True, "messages": turns("Who came?\n\nAnn came in May.", "Ann")}
    found, left = read("reading", row, {"id": "y", "messages": turns("Say hello.", "Hello.")})
    text = [{"text": "Ann came in May."}]
    assert found == [{"id": "x", "question": "Who came?", "answers": ["Ann"], "contexts": text}]
    assert left == {"no text to read": 1}


def test_triviaqa_of_kilt_takes_its_questions_from_a_second_file():
    row = {"id": "t1", "input": "", "output": [{"answer": "Ann"}, {"provenance": []}]}
    ((found,), _) = read("kilt_triviaqa", row, companion={"t1": {"question": "Who came?"}})
    assert found == {"id": "t1", "question": "Who came?", "answers": ["Ann"]}
    ((own,), _) = read("kilt_triviaqa", row | {"input": "Who went?"})
    assert own["question"] == "Who went?"
    with pytest.raises(DataError, match=r"row 1: .*question 't1' has no text and is not in the file"):
        read("kilt_triviaqa", row)


def test_chatrag_gives_the_chunks_of_its_document_with_the_gold_one_marked():
    row = {"messages": turns("Hello.", "Hi.", "Who came?"), "answer": "Ann", "document": "d"}
    documents = {"d": ["Ben went.", "Ann came."]}
    ((found,), _) = read("chatrag", row | {"ground_truth_ctx": {"index": 1}}, companion=documents)
    assert [(c["id"], c["text"], c["label"]) for c in found["candidates"]] == [
        ("d/0", "Ben went.", 0),
        ("d/1", "Ann came.", 1),
    ]
    with pytest.raises(DataError, match="the last message is not the user's"):
        read("chatrag", row | {"messages": turns("Hello.", "Hi.")})


def test_dpr_without_a_positive_passage_is_left_out():
    row = {"question": "Who?", "answers": ["Ann"], "positive_ctxs": []}
    assert read("dpr", row) == ([], {"no positive passage": 1})
