"""The fourteen benchmarks of the paper, each from its published form to its lines; the scores are worked out by hand.

The first stage is BM25, or the ranking that comes with the set.
"""

from __future__ import annotations

import re
from statistics import fmean

import pytest

from rankrag.data.catalogue import BENCHMARKS, PAPER
from rankrag.data.load import at_hand, load_set, missing
from rankrag.evaluation.lines import read_question_lines
from rankrag.evaluation.metrics import RANKING_METRICS, answer_recall_at
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import Settings, evaluate
from rankrag.evaluation.systems import System
from rankrag.templates import UNANSWERABLE
from tests.data import published as files


class Road:
    """A set that went through `evaluate`: ids of both orders, replies, and every prompt."""

    def __init__(self, name, data, **system):
        self.set = load_set(BENCHMARKS[name], data)
        self.model = files.model()
        bm25 = {"retriever": "bm25", "abstain": False}
        values = system if "setting" in system else bm25 | (system or {"n": 4, "k": 1})
        own = System(name="road", model="m", **values)
        openers = Openers(lambda name: (self.model, name))
        self.found = evaluate(data, data / "run", [own], openers, Settings(sample=0), sets=[name])
        (path,) = (data / "run").glob(f"{name}-*/{own.folder}/questions.jsonl")
        rows = read_question_lines(path)
        assert [row.id for row in rows] == [of.question.id for of in self.set.questions]
        self.first = [list(row.retrieved) for row in rows]
        self.final = [list(row.reranked) for row in rows]
        self.replies = [row.answer for row in rows]

    def recall_at_1(self, rankings):
        answers = [of.question.answers for of in self.set.questions]
        found = [answer_recall_at(r, self.set.passages, a, 1) for r, a in zip(rankings, answers, strict=True)]
        return fmean(found)

    def metric(self, rankings):
        return self.mean(self.set.benchmark.metric, rankings)

    def mean(self, metric, rankings):
        of_one, questions = RANKING_METRICS[metric], self.set.questions
        return fmean(of_one(ids, q, self.set.passages) for ids, q in zip(rankings, questions, strict=True))

    def scores(self):
        measured = self.found.of(self.set.benchmark.name, "road").figures
        return {name: measured[name].mean for name in self.set.benchmark.answer_metrics}


@pytest.fixture
def wikipedia(tmp_path):
    files.write_wikipedia(tmp_path / "wikipedia/psgs_w100.tsv")
    return tmp_path


@pytest.fixture
def medcorp(tmp_path):
    files.write_medcorp(tmp_path / "medcorp")
    files.write_json(tmp_path / "mirage/benchmark.json", files.mirage_file())
    return tmp_path


def test_nq_takes_every_answer_of_kilt(wikipedia):
    files.write_lines(
        wikipedia / "kilt/nq-dev-kilt.jsonl",
        files.kilt("-1", "who wrote hamlet", "Shakespeare", "William Shakespeare", "Shakespeare"),
        files.kilt("-2", "where flows the tagus", "Iberian Peninsula", "Spain"),
    )
    road = Road("nq-kilt", wikipedia)
    assert [of.question.answers for of in road.set.questions] == [
        ("Shakespeare", "William Shakespeare"),
        ("Iberian Peninsula", "Spain"),
    ]
    assert (road.first[0][0], road.final[0][0]) == ("1", "2")
    assert (road.recall_at_1(road.first), road.recall_at_1(road.final)) == (0.5, 1.0)
    assert road.replies == ["William Shakespeare", "the Iberian Peninsula"]
    assert road.scores() == {"EM": 1, "Acc": 1, "F1": 1}


def test_triviaqa_finds_the_questions_that_kilt_leaves_out(wikipedia):
    files.write_lines(
        wikipedia / "kilt/triviaqa-dev_id-kilt.jsonl",
        files.kilt("tc_3", "", "Shakespeare", "The Bard"),
        files.kilt("qw_12", "", "Portugal", "Lusitania"),
    )
    answer = {"value": "x", "aliases": [], "normalized_aliases": [], "type": "WikipediaEntity"}
    files.write_lines(
        wikipedia / "triviaqa/unfiltered.nocontext.validation.jsonl",
        {"question_id": "qw_12", "question": "Where flows the Tagus?", "question_source": "", "answer": answer},
        {"question_id": "tc_3", "question": "Who wrote Hamlet?", "question_source": "", "answer": answer},
    )
    road = Road("triviaqa-kilt", wikipedia)
    assert [of.question.text for of in road.set.questions] == ["Who wrote Hamlet?", "Where flows the Tagus?"]
    assert road.replies == ["William Shakespeare", "the Iberian Peninsula"]
    # "William Shakespeare" against "Shakespeare": 2 * 1 / (2 + 1). The second shares no word with its answers.
    assert road.scores() == {"EM": 0, "Acc": 0.5, "F1": pytest.approx(2 / 3 / 2)}
    assert (road.recall_at_1(road.first), road.recall_at_1(road.final)) == (0.0, 0.5)


def test_popqa_keeps_the_long_tail(tmp_path):
    files.write_dec_2020(tmp_path / "wikipedia/enwiki-dec2020.jsonl")
    row = {"subj": "Hamlet", "prop": "author", "obj": "x", "s_wiki_title": "Hamlet", "o_pop": 5}
    files.write_lines(
        tmp_path / "popqa/popqa_longtail_w_gs.jsonl",
        {**row, "id": 1, "s_pop": 99, "question": "Who wrote Hamlet?", "possible_answers": '["William Shakespeare"]'},
        {**row, "id": 2, "s_pop": 100, "question": "Who wrote Emma?", "possible_answers": '["Jane Austen"]'},
        {**row, "id": 3, "s_pop": 7, "question": "Where flows the Tagus?", "possible_answers": '["the Iberian"]'},
    )
    road = Road("popqa-longtail", tmp_path)
    assert [of.question.id for of in road.set.questions] == ["1", "3"]
    # "Iberian Peninsula" against "Iberian", articles gone: 2 * 1 / (2 + 1); "the Iberian" stands in the reply.
    assert road.scores() == {"EM": 0.5, "Acc": 1, "F1": pytest.approx((1 + 2 / 3) / 2)}
    assert (road.recall_at_1(road.first), road.recall_at_1(road.final)) == (0.5, 1.0)


def test_hotpotqa_answers_comparisons(wikipedia):
    files.write_lines(
        wikipedia / "kilt/hotpotqa-dev-kilt.jsonl",
        files.kilt("5a8b57f2", "Are Ebro and Tagus both rivers?", "yes"),
        files.kilt("5a8c7595", "Who wrote Hamlet?", "Shakespeare the playwright"),
    )
    road = Road("hotpotqa-kilt", wikipedia)
    assert (road.first[0][0], road.final[0][0]) == ("4", "5")
    assert road.replies == ["yes", "William Shakespeare"]
    # "William Shakespeare" against "Shakespeare playwright": 2 * 1 / (2 + 2).
    assert road.scores() == {"EM": 0.5, "Acc": 0.5, "F1": pytest.approx((1 + 0.5) / 2)}
    assert (road.recall_at_1(road.first), road.recall_at_1(road.final)) == (0.0, 0.5)


def test_2wikimqa_has_one_answer_and_its_own_paragraphs_are_not_used(wikipedia):
    own = [["Hamlet", ["The answer is here: Kyd."]]]
    row = {"type": "comparison", "context": own, "supporting_facts": [["Hamlet", 0]], "evidences": []}
    files.write_json(
        wikipedia / "2wikimultihopqa/dev.json",
        [
            {"_id": "8813f87c", "question": "Who wrote Hamlet?", "answer": "William Shakespeare", **row},
            {"_id": "228546780b", "question": "Are Ebro and Tagus both rivers?", "answer": "no", **row},
        ],
    )
    road = Road("2wikimqa", wikipedia)
    assert road.set.searchable
    assert road.replies == ["William Shakespeare", "yes"]
    assert road.scores() == {"EM": 0.5, "Acc": 0.5, "F1": 0.5}


def test_fever_is_a_claim_that_is_true_or_false(wikipedia):
    files.write_lines(
        wikipedia / "kilt/fever-dev-kilt.jsonl",
        files.kilt("33078", "Hamlet was written, not staged, in Madrid", "REFUTES"),
        files.kilt("6744", "Hamlet was staged in London", "SUPPORTS"),
    )
    road = Road("fever-kilt", wikipedia)
    assert road.set.benchmark.metric is None
    prompts = ["".join(s.text for s in prompt) for prompt in road.model.prompts]
    assert "For the claim Hamlet was written, not staged, in Madrid, assess whether" in prompts[0]
    assert any("Is the claim 'Hamlet was written, not staged, in Madrid' correct?" in prompt for prompt in prompts)
    # Unranked, passage 6 would have said True; 7 says False of both, which is right of the first.
    assert (road.first[0][0], road.final[0][0]) == ("6", "7")
    assert road.replies == ["False", "False"]
    assert road.scores() == {"FEVER accuracy": 0.5}


def test_doc2dial_searches_the_document_of_the_dialogue_with_the_last_seven_messages(tmp_path):
    turns = [{"role": ("user", "assistant")[i % 2], "content": f"turn {i}"} for i in range(8)]
    documents = {
        "visa": [
            "renew the visa, how to renew a visa in time. It says nothing new.",
            "Golden rule of visas. It says go to the office, with a photo.",
        ],
        "tax": ["how to renew a visa, golden. It says pay."],
    }
    files.write_json(tmp_path / "chatrag/doc2dial/documents.json", documents)
    gold = {"ctx": documents["visa"][1], "index": 1}
    row = {"document": "visa", "ground_truth_ctx": gold, "ctxs": [{"title": "", "text": documents["visa"][0]}]}
    files.write_json(
        tmp_path / "chatrag/doc2dial/test.json",
        [
            {**row, "messages": [*turns, {"role": "user", "content": "how to renew it"}], "answers": ["to the office"]},
            {**row, "messages": [{"role": "user", "content": "renew a visa"}], "answers": ["office, photo"]},
        ],
    )
    road = Road("doc2dial-chatrag", tmp_path)
    asked = road.set.questions[0].question
    assert [m.content for m in asked.history] == [f"turn {i}" for i in range(2, 8)]
    assert road.first == [["visa/0", "visa/1"]] * 2
    assert road.final == [["visa/1", "visa/0"]] * 2
    assert road.mean("R@1", road.first) == 0
    assert road.metric(road.final) == 1
    assert road.replies == ["go to the office, with a photo"] * 2
    # Words without articles: go, to, office, with, photo; 2 of them in the first answer, both of two in the second.
    assert road.scores() == {"ChatRAG F1": pytest.approx((2 * 2 / (5 + 2) + 2 * 2 / (5 + 2)) / 2)}
    prompt = "".join(s.text for s in road.model.prompts[-2])
    assert "turn 1" not in prompt
    assert "User: how to renew it\n" in prompt


def context(place, text):
    return {"title": f"Section {place}", "text": text}


def test_topiocqa_keeps_the_order_it_comes_in_and_answers_from_twenty(tmp_path):
    found = [context(i, f"beer {i}. It says eight.") for i in range(22)]
    found[20] = context(20, "Golden hours of beer. It says half past two.")
    files.write_json(
        tmp_path / "chatrag/topiocqa/dev.json",
        [
            {
                "topic": "Beer",
                "messages": [{"role": "user", "content": "until when is beer sold"}],
                "ctxs": found,
                "answers": ["2:30", "half past two", "", "at 2:30 a.m."],
            }
        ],
    )
    road = Road("topiocqa-chatrag", tmp_path, setting="paper-8b")
    name = "topiocqa-chatrag/0/c"
    assert road.first == [[f"{name}{i}" for i in range(22)]]
    assert road.final == [[f"{name}20", *(f"{name}{i}" for i in range(22) if i != 20)]]
    passages = [s for s in road.model.prompts[-1] if s.kind == "passage"]
    assert len(passages) == 20
    assert road.replies == ["half past two"]
    assert road.scores() == {"ChatRAG F1": 1}
    assert (road.metric(road.first), road.metric(road.final)) == (0, 1)


def test_inscit_leaves_the_refusal_out_and_takes_the_better_reference(tmp_path):
    turns = [{"role": "user", "content": "cheese?"}, {"role": "assistant", "content": "Which one?"}]
    files.write_json(
        tmp_path / "chatrag/inscit/dev.json",
        [
            {
                "topic": "Cheese",
                "messages": [*turns, {"role": "user", "content": "whose milk"}],
                "ctxs": [context(0, "Milk. It says of cows."), context(1, "Golden milk. It says of goats, sheep.")],
                "answers": [UNANSWERABLE, "sheep", "goats and sheep"],
            }
        ],
    )
    road = Road("inscit-chatrag", tmp_path)
    assert road.set.questions[0].question.answers == ("sheep", "goats and sheep")
    assert road.replies == ["of goats, sheep"]
    # of, goats, sheep against goats, and, sheep: 2 * 2 / (3 + 3); against sheep: 2 * 1 / (3 + 1).
    assert road.scores() == {"ChatRAG F1": pytest.approx(2 / 3)}


def mirage(right):
    return {"MIRAGE accuracy": right, "MIRAGE strict": right, "MIRAGE parsed": 1}


def test_mmlu_med_picks_the_likeliest_letter(medcorp):
    road = Road("mmlu-med", medcorp)
    assert (road.first[0][0], road.final[0][0]) == ("w1", "t1")
    assert road.replies == ["B", "D"]
    assert road.scores() == mirage(0.5)


def test_medqa_us_hides_the_options_from_the_ranking(medcorp):
    road = Road("medqa-us", medcorp, n=3, k=1)
    assert road.replies == ["C"]
    assert road.scores() == mirage(1)
    *judged, asked = ["".join(s.text for s in prompt) for prompt in road.model.prompts]
    assert len(judged) == 2
    assert not any("thiamine" in prompt for prompt in judged)
    assert "scurvy?\nA. retinol\nB. thiamine\nC. ascorbic acid\nD. calciferol\n\nAssistant:" in asked


def test_medmcqa_is_scored_by_letter(medcorp):
    road = Road("medmcqa", medcorp)
    assert [of.question.answers for of in road.set.questions] == [("D",), ("B",)]
    assert road.replies == ["D", "C"]
    assert road.scores() == mirage(0.5)


def test_pubmedqa_star_has_three_options_and_none_of_its_abstracts(medcorp):
    road = Road("pubmedqa-star", medcorp)
    assert road.set.questions[0].question.options == ("yes", "no", "maybe")
    assert (road.set.questions[0].gold, road.set.questions[0].given) == ((), ())
    assert (road.first[0][0], road.final[0][0]) == ("p3", "p4")
    assert road.scores() == mirage(1)


def test_bioasq_yn_has_two_options(medcorp):
    road = Road("bioasq-yn", medcorp)
    assert road.replies == ["A", "A"]
    assert road.scores() == mirage(0.5)


def test_there_are_fourteen_and_each_says_how_the_paper_measures_it():
    assert len(PAPER) == 14
    for benchmark in PAPER:
        assert benchmark.paper is not None
        assert benchmark.split
        assert benchmark.corpus
        assert benchmark.hub or benchmark.source
    twice = [b.title for b in BENCHMARKS.values() if b.name.startswith(("nq-", "triviaqa-"))]
    assert twice == ["NQ (KILT dev)", "TriviaQA (KILT dev)", "NQ (DPR test)", "TriviaQA (DPR test)"]


def test_every_set_of_a_hub_is_pinned_to_a_commit():
    revisions = {name: of.hub.revision or "" for name, of in BENCHMARKS.items() if of.hub}
    assert len(revisions) == 11
    assert [name for name, revision in revisions.items() if not re.fullmatch("[0-9a-f]{40}", revision)] == []


def test_the_dpr_splits_are_read_from_tables(wikipedia):
    files.write(
        wikipedia / "dpr/nq-test.qas.csv",
        'who wrote hamlet\t"[\'William Shakespeare\', ""O\'Neill""]"\nwhere\t[\'x\']\n',
    )
    road = Road("nq-dpr", wikipedia)
    assert [of.question.answers for of in road.set.questions] == [("William Shakespeare", "O'Neill"), ("x",)]
    assert road.scores()["EM"] == 0.5
    assert road.set.questions[0].question.id == "nq-dpr/0"


def test_a_frozen_run_stands_for_the_corpus(tmp_path):
    files.write_lines(tmp_path / "kilt/nq-dev-kilt.jsonl", files.kilt("q 1", "who wrote hamlet", "William Shakespeare"))
    benchmark = BENCHMARKS["nq-kilt"]
    assert [path.name for path in missing(benchmark, tmp_path)] == ["psgs_w100.tsv"]
    files.write(tmp_path / "runs/nq-kilt.trec", "q%201 Q0 7 1 2.0 bm25\nq%201 Q0 2 2 1.5 bm25\n")
    kept = [dict(zip(("id", "text", "title"), row, strict=True)) for row in files.WIKIPEDIA if row[0] in "27"]
    files.write_lines(tmp_path / "runs/nq-kilt.passages.jsonl", *kept)
    assert at_hand(tmp_path) == ("nq-kilt",)
    road = Road("nq-kilt", tmp_path)
    assert (road.set.ranked, road.set.searchable, sorted(road.set.passages)) == (True, False, ["2", "7"])
    assert road.first == [["7", "2"]]
    assert road.scores() == {"EM": 0, "Acc": 0, "F1": 0}


def test_without_passages_a_set_is_for_the_closed_book(tmp_path):
    files.write_json(tmp_path / "mirage/benchmark.json", files.mirage_file())
    closed = load_set(BENCHMARKS["medqa-us"], tmp_path, passages=False)
    assert [of.question.answers for of in closed.questions] == [("C",)]
    assert (dict(closed.passages), closed.ranked, closed.searchable) == ({}, False, False)
