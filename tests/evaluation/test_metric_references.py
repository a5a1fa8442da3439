"""Every metric on 1,000 random cases against a second implementation, written plainly from the published rules."""

from __future__ import annotations

import random
import re
import string
import unicodedata
from collections import Counter
from itertools import pairwise
from math import inf

import pytest
import regex

from rankrag.evaluation import metrics
from rankrag.evaluation.calibration import Calibration, reliability, risk_coverage
from rankrag.evaluation.metrics import letter_of, verdict_of
from rankrag.types import Passage
from tests.evaluation.test_line_metrics import line_metrics

CASES = 1_000
WORDS = ["the", "a", "An", "Tagus", "tagus", "tagus's", "río", "rio", "U.S.", "U", "S", "—", "a–b", "1,000", "1000", ""]
WORDS += ["New_York", "New", "York", "(the)", "“Tagus”", "Ebro.", "ебро", "x-y", "x", "y", "!", "</s>", "\n", "naïve"]


def texts(seed, longest=5):
    rng = random.Random(seed)
    while True:
        yield " ".join(rng.choice(WORDS) for _ in range(rng.randrange(longest + 1)))


def pairs(seed, longest=5):
    """Replies and lists of one to three answers, some taken from the reply so that right ones are common."""
    rng, source = random.Random(f"{seed}/lists"), texts(seed, longest)
    for _ in range(CASES):
        reply, answers = next(source), [next(source) for _ in range(rng.randrange(1, 4))]
        if rng.random() < 0.4:
            answers.append(" ".join(reply.split()[rng.randrange(2) :]))
        yield reply, answers


def squad_normal(text):
    text = "".join(" " if c.isspace() else c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def overlap_f1(said, wanted):
    common = sum(min(said.count(word), wanted.count(word)) for word in set(said))
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def squad_f1(reply, answer):
    """SQuAD 2.0's rule: where one of them has no words left, they are right if both have none."""
    said, wanted = squad_normal(reply).split(), squad_normal(answer).split()
    return float(said == wanted) if not said or not wanted else overlap_f1(said, wanted)


def chatrag_f1(reply, answers):
    """ParlAI's rule as ChatRAG has it: marks part words, articles go, the best reference counts, empty ones do not."""

    def words(text):
        parted = "".join(" " if c in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" else c for c in text.lower())
        return re.sub(r"\b(a|an|the)\b", " ", parted).split()

    said = reply.strip().replace("</s>", "")
    return max((overlap_f1(words(said), words(answer)) for answer in answers if answer.strip()), default=0.0)


def both_ways(found):
    """The cases tell something: some are right, some are not."""
    assert 0.02 < sum(value > 0 for value in found) / len(found) < 0.98


def test_exact_match_is_squads():
    found = [metrics.exact_match(*pair) for pair in pairs("em")]
    assert found == [
        float(bool(r.strip()) and any(squad_normal(r) == squad_normal(a) for a in answers))
        for r, answers in pairs("em")
    ]  # but an empty reply is never right
    both_ways(found)


def test_token_f1_is_squads():
    found = [metrics.token_f1(*pair) for pair in pairs("f1")]
    expected = [bool(r.strip()) * max(squad_f1(r, a) for a in answers) for r, answers in pairs("f1")]
    assert found == pytest.approx(expected, abs=1e-12)
    both_ways(found)


def test_chatrag_f1_is_parlais():
    found = [metrics.chatrag_f1(*pair) for pair in pairs("chatrag", longest=9)]
    assert found == pytest.approx([chatrag_f1(*pair) for pair in pairs("chatrag", longest=9)], abs=1e-12)
    both_ways(found)
    squad = [metrics.token_f1(*pair) for pair in pairs("chatrag", longest=9)]
    assert sum(abs(a - b) > 1e-9 for a, b in zip(found, squad, strict=True)) > 50


def test_accuracy_is_self_rags_match():
    found = [metrics.contains_answer(*pair) for pair in pairs("acc", longest=8)]
    assert found == [
        float(any(a and reply.find(a) >= 0 for a in answers)) for reply, answers in pairs("acc", longest=8)
    ]
    both_ways(found)


def replies(seed, pieces):
    rng = random.Random(seed)
    for _ in range(CASES):
        yield "".join(rng.choice(pieces) for _ in range(rng.randrange(6)))


LETTER_PIECES = [
    "A",
    "B",
    "C",
    "D",
    "E",
    "a",
    " ",
    " ",
    ".",
    ":",
    ",",
    "/",
    '"',
    " or ",
    " and ",
    "\n",
    "Option ",
    "option ",
]
LETTER_PIECES += ['"answer_choice": "', "The answer is", "OPTION "]


def mirage_letter(reply):
    """The ten places where the official scorer looks, one after another; it ends with A."""
    text = reply.split('"answer_choice": "')[-1].strip()
    first, rest = text[:1], text[1:]
    if first in tuple("ABCD"):
        for ending in (" or", " and", "/", ","):
            if rest == "" or rest.startswith(ending):
                return first
    at = [m.end() for m in re.finditer("option |Option ", text) if text[m.end() : m.end() + 1] in tuple("ABCD")]
    if at:
        return text[at[0]]
    for place, character in enumerate(text):
        after = text[place + 1 :].lstrip()
        if character == ":" and after[:1] in tuple("ABCD"):
            return after[0]
    if first in tuple("ABCD") and rest[:1] in (".", '"', ":"):
        return first
    return None


def test_mirage_accuracy_official_and_strict_and_the_unparsed_rate():
    rng = random.Random("gold")
    golds = [rng.choice("ABCD") for _ in range(CASES)]
    said = list(replies("mirage", LETTER_PIECES))
    letters = [mirage_letter(reply) for reply in said]
    assert [letter_of(reply) for reply in said] == letters
    official = [metrics.option_accuracy(reply, [gold]) for reply, gold in zip(said, golds, strict=True)]
    strict = [metrics.strict_option_accuracy(reply, [gold]) for reply, gold in zip(said, golds, strict=True)]
    parsed = [metrics.option_parsed(reply, [gold]) for reply, gold in zip(said, golds, strict=True)]
    assert official == [float((letter or "A") == gold) for letter, gold in zip(letters, golds, strict=True)]
    assert strict == [float(letter == gold) for letter, gold in zip(letters, golds, strict=True)]
    assert 1 - sum(parsed) / CASES == pytest.approx(letters.count(None) / CASES)
    both_ways(parsed)
    assert sum(official) > sum(strict)


def test_fever_accuracy_reads_the_first_verdict():
    pieces = ["True", "False", "true ", "SUPPORTS", "REFUTES", "not ", " ", ".", "the claim is ", "Not enough info", ""]
    rng = random.Random("claims")
    found, expected = [], []
    for reply in replies("fever", pieces):
        gold = rng.choice(["SUPPORTS", "REFUTES"])
        plain = " ".join("".join(c for c in reply.lower() if c not in string.punctuation).split())
        verdict = None
        for word in plain.split():
            if verdict is None and word in ("true", "supports"):
                verdict = "SUPPORTS"
            if verdict is None and word in ("false", "refutes"):
                verdict = "REFUTES"
        if plain.startswith("not enough info"):
            verdict = "NOT ENOUGH INFO"
        assert verdict_of(reply) == verdict
        found.append(metrics.claim_accuracy(reply, [gold]))
        expected.append(float(verdict == gold))
    assert found == expected
    both_ways(found)


def dpr_words(text):
    """DPR's SimpleTokenizer: runs of letters, numbers and marks, or one visible character, in Unicode's form NFD."""
    return [
        m[0].lower() for m in regex.finditer(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]", unicodedata.normalize("NFD", text))
    ]


def holds(words, wanted):
    return bool(wanted) and any(words[i : i + len(wanted)] == wanted for i in range(len(words)))


@pytest.mark.parametrize("dpr", [False, True])
def test_the_recall_of_answers_is_that_of_its_rule(dpr):
    source, rng = texts("passages", 12), random.Random("k")
    found, expected = [], []
    for _, answers in pairs(f"recall{dpr}", longest=3):
        passages = {str(i): Passage(str(i), next(source), next(source)) for i in range(4)}
        k = rng.randrange(1, 5)
        holds_it = metrics.holds_answer_by_dpr if dpr else metrics.holds_answer
        found.append(metrics.answer_recall_at(list(passages), passages, answers, k, holds_it))
        if dpr:
            hits = [holds(dpr_words(p.text), dpr_words(a)) for p in list(passages.values())[:k] for a in answers]
        else:
            shown = [squad_normal(f"{p.title} {p.text}").split() for p in list(passages.values())[:k]]
            hits = [holds(words, squad_normal(a).split()) for words in shown for a in answers]
        expected.append(float(any(hits)))
    assert found == expected
    both_ways(found)


def rankings(seed):
    rng = random.Random(seed)
    for _ in range(CASES):
        ids = rng.sample([f"d{i}" for i in range(30)], rng.randrange(1, 25))
        yield ids, {f"d{i}": rng.randrange(4) for i in rng.sample(range(30), rng.randrange(1, 8))}


def test_recall_reciprocal_rank_and_ndcg_are_those_of_ir_measures():
    import ir_measures

    cases = list(rankings("ir"))
    gold = [[name for name, grade in grades.items() if grade] for _, grades in cases]
    runs = {str(q): {name: -float(rank) for rank, name in enumerate(ids)} for q, (ids, _) in enumerate(cases)}
    qrels = {str(q): grades for q, (_, grades) in enumerate(cases)}
    wanted = {name: ir_measures.parse_measure(name) for name in ("R@1", "R@5", "R@20", "RR", "nDCG@10")}
    theirs = {(str(m.measure), m.query_id): m.value for m in ir_measures.iter_calc(list(wanted.values()), qrels, runs)}
    ndcg = [metrics.ndcg_at_10(ids, grades) for ids, grades in cases]
    for q, (ids, _) in enumerate(cases):
        ours = {f"R@{k}": metrics.recall_at(ids, gold[q], k) for k in (1, 5, 20)}
        ours |= {"RR": metrics.reciprocal_rank(ids, gold[q]), "nDCG@10": ndcg[q]}
        expected = {name: theirs[name, str(q)] for name in ours}
        if not gold[q]:  # ir_measures says 0, or nothing, if there is nothing to find
            expected = dict.fromkeys(ours, 0.0)
        assert ours == pytest.approx(expected, abs=1e-9)
    both_ways(ndcg)


def test_all_gold_counts_every_gold_passage():
    for ids, grades in rankings("all"):
        gold, k = list(grades)[:2], 10
        assert metrics.all_gold_at(ids, gold, k) == float(Counter(n in ids[:k] for n in gold)[True] == len(gold))


def test_citations_are_counted_one_by_one():
    for ids, grades in rankings("cite"):
        cited, gold = [ids[0], ids[-1], ids[0]], list(grades)
        hits = [name for name in cited if name in gold]
        found = line_metrics(gold=tuple(gold), contexts=tuple(ids), cited=tuple(ids.index(name) for name in cited))
        assert found["citation precision"] == pytest.approx(len(hits) / 3)
        assert found["citation recall"] == pytest.approx(len(set(hits)) / len(gold))


def test_the_calibration_error_is_the_weighted_distance_of_ten_bins():
    rng = random.Random("ece")
    probabilities = [rng.choice([rng.random(), 0.0, 1.0, 0.3]) for _ in range(CASES)]
    outcomes = [float(rng.random() < p * 0.7) for p in probabilities]
    expected = 0.0
    for low in range(10):
        inside = [(p, o) for p, o in zip(probabilities, outcomes, strict=True) if low == min(int(p * 10), 9)]
        if inside:
            expected += abs(sum(p for p, _ in inside) - sum(o for _, o in inside)) / CASES
    predictions = list(zip(probabilities, outcomes, strict=True))
    assert Calibration(reliability(predictions)).ece == pytest.approx(expected)
    assert 0.05 < expected < 0.5


def test_risk_and_coverage_are_those_of_every_threshold():
    rng = random.Random("risk")
    confidences = [rng.choice([-inf, *map(float, range(20))]) for _ in range(CASES)]
    losses = [rng.random() for _ in confidences]
    curve = risk_coverage(list(zip(confidences, losses, strict=True)))
    assert len(curve) == len(set(confidences))
    for step, threshold in zip(curve, sorted(set(confidences), reverse=True), strict=True):
        answered = [loss for c, loss in zip(confidences, losses, strict=True) if c >= threshold]
        assert step.coverage == pytest.approx(len(answered) / CASES)
        assert step.risk == pytest.approx(sum(answered) / len(answered))
    steps = [curve[0].coverage] + [b.coverage - a.coverage for a, b in pairwise(curve)]
    assert Calibration(risks=curve).aurc == pytest.approx(sum(s * of.risk for s, of in zip(steps, curve, strict=True)))
