from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rankrag.blend.kinds import neighbours, passage_lists, qa_examples, retrieval_qa_examples
from rankrag.blend.mining import mine
from rankrag.blend.own_words import drawn_by_passage, replied, rows_file, why_not, without_preamble, write_replies
from rankrag.blend.sources import QuestionSet, Record, read_source
from rankrag.config.blend import SourceConfig
from rankrag.data.files import read_rows
from rankrag.models.fake import FakeLanguageModel
from rankrag.templates import UNANSWERABLE
from rankrag.types import Question

WANTED = SourceConfig(name="rivers", rows="r", style="conversation", qa=4, unanswerable=0, list_questions=2)
UNANSWERED = WANTED.model_copy(update={"unanswerable": 1.0, "list_questions": 3, "lists": 2})
REPLY = "According to the passage, the river ends at Ashford."


@pytest.fixture
def source(rivers):
    """Two questions about each of the twelve rivers."""
    records = [
        Record(
            Question(f"{passage.id}/{n}", f"Where does {passage.id} end, asked {n} times?", answers=("Ashford",)),
            (passage.id,),
        )
        for passage in rivers
        for n in range(2)
    ]
    return QuestionSet("rivers", tuple(records), {p.id: p for p in rivers})


@pytest.mark.parametrize(
    ("said", "learnt"),
    [
        ("According to the passage, it ends at Derby.", "It ends at Derby."),
        ("Based on the information provided in the passage, it ends.", "It ends."),
        ("The passage is by Otter.", "The passage is by Otter."),
        ("According to the king, it ends at Derby.", "According to the king, it ends at Derby."),
    ],
)
def test_a_first_clause_that_names_the_source_is_cut(said, learnt):
    assert without_preamble(said) == learnt


@pytest.mark.parametrize(
    ("reply", "answers", "why"),
    [
        ("It ends at Ashford.", ["Ashford"], ""),
        ("It ends at Derby.", ["Ashford"], "reply and reference differ"),
        (UNANSWERABLE, ["Ashford"], "the teacher refused"),
        ("", ["Ashford"], "the teacher refused"),
        ("and " * 50, ["and"], "the reply is cut short"),
        (
            "You must insure the car on every single day.",
            ["one must insure the car on every single day it is registered"],
            "",
        ),
        ("Insure it.", ["one must insure the car on every single day it is registered"], "reply and reference differ"),
    ],
)
def test_a_reply_is_kept_if_it_agrees_with_the_reference(reply, answers, why):
    assert why_not(reply.strip(), answers) == why


def test_questions_of_one_passage_come_together(source):
    drawn = drawn_by_passage(source, 7, random.Random(0))
    passages = [record.positives for record in drawn]
    assert len(drawn) == 7
    assert passages[0] == passages[1] != passages[2] == passages[3]


def test_a_reply_becomes_the_target_and_the_gold_passage_alone_is_read(source, tmp_path):
    teacher = FakeLanguageModel(reply=REPLY)
    counted = write_replies(source, teacher, tmp_path, questions=6)
    assert counted == {"kept": 6}
    assert all(sum(s.kind == "passage" for s in prompt) == 1 for prompt in teacher.prompts)
    read = read_source(replied(WANTED, tmp_path), tmp_path)
    assert {record.reply for record in read.records} == {"The river ends at Ashford."}
    near = neighbours(read, [()] * len(read.records))
    targets = {example.target for one in near for example in qa_examples(read, WANTED, one, random.Random(0))}
    assert targets == {"The river ends at Ashford."}
    lists = passage_lists(read, WANTED, mine(read, 4), 3, random.Random(0))
    examples = [e for one in lists for e in retrieval_qa_examples(read, WANTED, one, random.Random(0))]
    assert {(len(e.contexts), e.target) for e in examples} == {(3, "The river ends at Ashford.")}


def test_a_killed_run_asks_the_teacher_nothing_twice(source, tmp_path):
    first, second = FakeLanguageModel(reply=REPLY), FakeLanguageModel(reply=REPLY)
    write_replies(source, first, tmp_path, questions=4)
    write_replies(source, second, tmp_path, questions=6)
    assert (len(first.prompts), len(second.prompts)) == (4, 2)


def test_a_reply_that_is_left_out_stands_in_the_rows_with_its_reason(source, tmp_path):
    counted = write_replies(source, FakeLanguageModel(reply="It ends at Derby."), tmp_path, questions=3)
    assert counted == {"reply and reference differ": 3}
    assert {row["left_out"] for _, row in read_rows(tmp_path / rows_file("rivers"))} == {"reply and reference differ"}


def test_questions_that_only_look_answerable_get_a_list_with_their_passage(source):
    near = [replace(record, positives=(), near=record.positives) for record in source.records]
    near = [replace(record, question=replace(record.question, answers=())) for record in near]
    misses = replace(source, records=tuple(near))
    lists = list(passage_lists(misses, UNANSWERED, mine(misses, 4), 3, random.Random(0)))
    for one in lists:
        examples = list(retrieval_qa_examples(misses, UNANSWERED, one, random.Random(0)))
        assert [e.target for e in examples] == [UNANSWERABLE, UNANSWERABLE]
        (near_id,) = {i for record in one.refused for i in record.near}
        assert near_id in {p.id for p in one.passages}
