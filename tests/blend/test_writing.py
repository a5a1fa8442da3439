from __future__ import annotations

import random

from rankrag.blend.writing import Written, sentences_to_ask, write
from rankrag.templates import WRITE
from rankrag.types import Passage

PASSAGE = Passage(
    "p",
    "# A heading of the six words it has.\n\nIt is short. The Tagus is the longest river of\nIberia. A line without",
)


def test_whole_sentences_are_asked_about_and_no_headings():
    assert sentences_to_ask(PASSAGE, 5, random.Random(0)) == ("The Tagus is the longest river of Iberia.",)


def test_the_sentences_are_drawn_and_keep_their_order():
    text = " ".join(f"Sentence number {i} has seven words here." for i in range(10))
    drawn = sentences_to_ask(Passage("p", text), 3, random.Random(1))
    assert len(drawn) == 3
    assert sorted(drawn, key=text.index) == list(drawn)
    assert drawn != sentences_to_ask(Passage("p", text), 3, random.Random(2))


def test_a_question_is_one_line_and_is_answered_from_its_sentence_and_from_its_passage(rivers, speaker):
    model = speaker()
    passage = rivers[0]
    sentence = "At its end the river Alder0 reaches the sea at Ashford0."
    (written,) = write(model, model, [(passage, (sentence,))])
    question = "Where does the river Alder0 reach the sea?"
    assert written == [Written(sentence, question, "Ashford0", "Ashford0")]
    shown = [[s.text for s in prompt if s.kind == "passage"] for prompt in model.prompts]
    assert shown == [[f"Rivers\n{text}"] for text in (passage.text, sentence, passage.text)]


def test_an_unfit_question_is_not_answered_and_a_bad_answer_not_asked_again(rivers, speaker):
    writer, reader = speaker(), speaker(lambda _: "Atlantis")
    asked = [(rivers[0], ("No stream stands in this sentence here.", "The river Alder0 reaches the sea at Ashford0."))]
    (written,) = write(writer, reader, asked)
    assert [(w.question, w.proposed, w.reply) for w in written] == [
        ("No.", "", ""),
        ("Where does the river Alder0 reach the sea?", "Atlantis", ""),
    ]
    assert len(reader.prompts) == 1
    assert not any(WRITE in s.text for s in reader.prompts[0])


def test_no_passages_ask_nothing(speaker):
    model = speaker()
    assert write(model, model, []) == []
