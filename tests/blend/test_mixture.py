from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from rankrag.blend.mixture import EXAMPLES_FILE, build_blend, group_tokens
from rankrag.blend.sources import held_back_part
from rankrag.config.blend import BlendConfig
from rankrag.data.examples import read_examples
from rankrag.data.hub import HubUnreachableError
from rankrag.errors import ConfigError, DataError
from rankrag.types import DataKind, Example, Message, Passage, Question

DEFAULT_KINDS = set(DataKind) - {DataKind.SFT}


@pytest.fixture
def config_of(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    corpus = [{"id": f"s/d{i}/0", "text": f"Town {i} lies on river number{i} near hill {i % 7}."} for i in range(60)]
    rows = [
        {
            "id": f"q{i}",
            "question": f"On which river lies town {i}?",
            "answers": [f"number{i}" if i % 10 else "word " * 50],
            "positive_ids": [f"s/d{i}/0"],
        }
        for i in range(60)
    ]
    for name, content in (("train.jsonl", rows), ("corpus.jsonl", corpus)):
        (data / name).write_text("\n".join(map(json.dumps, content)))
    (data / "dev.jsonl").write_text("not even JSON")

    def make(**fields):
        source = {"name": "s", "rows": "train.jsonl", "corpus": "corpus.jsonl", "passages": 40, "lists": 10}
        return BlendConfig.model_validate(
            {"data": str(data), "research": True, "held_back": 0.2, "sources": [source]} | fields
        )

    return make


def built(config, out):
    build_blend(config, out)
    return list(read_examples(out / EXAMPLES_FILE))


def test_the_same_seed_gives_the_same_bytes(config_of, tmp_path):
    for name in "ab":
        build_blend(config_of(), tmp_path / name)
    for file in (EXAMPLES_FILE, "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_another_seed_gives_another_blend(config_of, tmp_path):
    assert built(config_of(), tmp_path / "a") != built(config_of(seed=1), tmp_path / "b")


def test_by_default_the_paper_s_four_kinds_with_passages_are_made(config_of, tmp_path):
    assert {e.kind for e in built(config_of(), tmp_path / "a")} == DEFAULT_KINDS


def test_no_positive_appears_as_a_negative(config_of, tmp_path):
    ranking = [e for e in built(config_of(), tmp_path / "a") if e.kind is DataKind.CONTEXT_RANKING]
    assert {e.target for e in ranking} == {"True", "False"}
    for e in ranking:
        assert (e.contexts[0].id == f"s/d{e.question.id[1:]}/0") == (e.target == "True")


def test_held_back_questions_are_not_in_the_blend(config_of, tmp_path):
    config = config_of()
    held = {r.question.id for r in held_back_part(config, config.sources[0]).records}
    assert held
    assert held.isdisjoint(e.question.id for e in built(config, tmp_path / "a"))


def test_long_answers_are_left_out_of_context_qa(config_of, tmp_path):
    found = [e for e in built(config_of(), tmp_path / "a") if e.kind is DataKind.CONTEXT_QA]
    assert max(len(e.target.split()) for e in found) <= 40


def test_examples_of_one_passage_stand_together(config_of, tmp_path):
    found = [e.contexts for e in built(config_of(), tmp_path / "a")]
    starts = [b for a, b in pairwise([(), *found]) if a != b]
    assert len(starts) == len(set(starts))


def test_all_missing_files_are_named_before_any_work(config_of, tmp_path):
    sources = [{"name": "s", "rows": "x.jsonl"}, {"name": "t", "rows": "y.jsonl"}]
    with pytest.raises(ConfigError, match=r"x\.jsonl is not there.*y\.jsonl is not there"):
        build_blend(config_of(sources=sources), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_all_problems_of_configuration_and_data_stand_in_one_error(config_of, tmp_path):
    sources = [{"name": "s", "rows": "x.jsonl"}, {"name": "t", "rows": "y.jsonl", "corpus": "z.jsonl"}]
    with pytest.raises(ConfigError) as caught:
        build_blend(config_of(sources=sources, weights={"u": 1}, evaluation=[{"rows": "e.jsonl"}]), tmp_path / "a")
    wanted = ("x.jsonl", "y.jsonl", "z.jsonl", "e.jsonl", "'u' names no source", "'examples', which is not set")
    assert [text for text in wanted if text not in str(caught.value)] == []


def test_all_bad_rows_of_all_sources_stand_in_one_error(config_of, tmp_path):
    (tmp_path / "data" / "bad.jsonl").write_text('{"id": "a"}\n')
    (tmp_path / "data" / "empty.jsonl").write_text("")
    sources = [{"name": n, "rows": f"{f}.jsonl"} for n, f in (("s", "bad"), ("t", "dev"))]
    with pytest.raises(ConfigError, match=r"source 's': .*bad\.jsonl:1.*source 't': .*dev\.jsonl:1: not JSON"):
        build_blend(config_of(sources=sources), tmp_path / "a")
    with pytest.raises(ConfigError, match=r"source 's': no rows are left; its file is empty"):
        build_blend(config_of(sources=[{"name": "s", "rows": "empty.jsonl"}]), tmp_path / "a")


def test_problems_of_configuration_sources_and_evaluation_sets_stand_in_one_error(config_of, tmp_path):
    (tmp_path / "data" / "bad.jsonl").write_text('{"id": "a"}\nno JSON\n')
    (tmp_path / "data" / "empty.jsonl").write_text("")
    sources = [{"name": n, "rows": f"{n}.jsonl"} for n in ("bad", "empty", "train")]
    corpus = {"corpus": "corpus.jsonl"}
    sources[2] |= corpus
    fields = {"examples": 9, "weights": {"bad": 1, "empty": 1, "trian": 1}, "evaluation": [{"rows": "dev.jsonl"}]}
    with pytest.raises(ConfigError) as caught:
        build_blend(config_of(sources=sources, **fields), tmp_path / "a")
    found = ("did you mean 'train'", "bad.jsonl:1: no question", "bad.jsonl:2: not JSON", "'empty': no rows are left")
    for problem in (*found, "evaluation: ", "dev.jsonl:1: not JSON"):
        assert problem in str(caught.value)


WEIGHTS = {f"s/{kind}": w for kind, w in zip(sorted(DEFAULT_KINDS), (1, 2, 3, 4), strict=True)}


@pytest.fixture
def weighted(config_of):
    """One source whose four kinds are drawn by weight, more than it has."""
    return config_of(
        examples=500, weights=WEIGHTS, sources=[{"name": "s", "rows": "train.jsonl", "corpus": "corpus.jsonl"}]
    )


def test_weights_decide_how_many_examples_of_what_there_are(weighted, tmp_path):
    counts = Counter(f"s/{e.kind}" for e in built(weighted, tmp_path / "a"))
    assert counts == {key: 50 * weight for key, weight in WEIGHTS.items()}


def test_a_weighted_blend_is_the_same_for_its_seed(weighted, tmp_path):
    for name in "ab":
        build_blend(weighted, tmp_path / name)
    for file in (EXAMPLES_FILE, "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_in_a_weighted_blend_too_neighbours_share_their_passages(weighted, tmp_path):
    found = [e.contexts for e in built(weighted, tmp_path / "a")]
    runs = sum(1 for a, b in pairwise([(), *found]) if a != b)
    assert runs < len(found) * 0.6


def test_no_negative_holds_an_answer_or_repeats_a_gold_passage(config_of, tmp_path):
    texts = [
        "Ovar lies on the Caster.",
        "Ovar lies on the Caster, they say.",
        "Porto lies on the Douro.",
        "Faro is old.",
    ]
    corpus = [{"id": f"s/{i}", "text": text} for i, text in enumerate(texts)]
    rows = [
        {"id": f"q{i}", "question": f"Of Ovar {i}?", "answers": ["Caster"], "positive_ids": ["s/0"]} for i in range(9)
    ]
    rows += [
        {"id": f"r{i}", "question": f"Of {i}?", "answers": ["none"], "positive_ids": [f"s/{i}"]} for i in (1, 2, 3)
    ]
    for name, content in (("t", rows), ("c", corpus)):
        (tmp_path / "data" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)))
    source = {"name": "s", "rows": "t.jsonl", "corpus": "c.jsonl", "kinds": ["context_ranking"], "random": 9, "hard": 9}
    config = config_of(held_back=0, sources=[source])
    manifest = build_blend(config, tmp_path / "a")
    found = list(read_examples(tmp_path / "a" / EXAMPLES_FILE))
    denied = {(e.question.id[0], e.contexts[0].id) for e in found if e.target == "False"}
    assert ("q", "s/1") not in denied
    assert {("q", "s/2"), ("q", "s/3")} <= denied
    dropped = manifest["sources"]["s"]["dropped"]
    assert dropped["random negative: contains an answer"] > 0
    assert dropped["mined negative: contains an answer"] > 0


def chunked(tmp_path):
    """Conversations about documents of three chunks: one answers, one shares a few words, one has none of it."""
    rows = []
    for number in range(20):
        words = [f"a{number}x{i}" for i in range(12)]
        chunks = [words, [*words[:5], *(f"b{number}x{i}" for i in range(9))], [f"c{number}x{i}" for i in range(20)]]
        text = " ".join(" ".join([*chunk, *(f"f{number}" for _ in range(20 - len(chunk)))]) for chunk in chunks)
        history = [{"role": "user", "content": "Hello."}, {"role": "agent", "content": "Good day."}]
        row = {"id": f"q{number}", "question": f"{number}?", "history": history, "answers": [" ".join(words)]}
        rows.append(row | {"contexts": [{"text": text}]})
    (tmp_path / "data" / "talks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    fields = {"kinds": ["context_ranking"], "chunk_words": 20, "negative_passages": 20, "random": 0}
    return {"name": "talks", "rows": "talks.jsonl", "style": "conversation"} | fields


def test_chunks_of_a_conversation_s_document_are_ranked_by_their_pseudo_labels(config_of, tmp_path):
    found = built(config_of(held_back=0, sources=[chunked(tmp_path)]), tmp_path / "a")
    places = {(e.target, e.contexts[0].id.rpartition("/")[2]) for e in found}
    assert places == {("True", "0"), ("False", "2")}
    assert Counter(e.target for e in found) == {"True": 20, "False": 20}
    assert {len(e.question.history) for e in found} == {2}


def by_question(tmp_path, **fields):
    """Questions that name two negatives of their own; BM25 finds many more."""
    rows = [json.loads(line) for line in (tmp_path / "data" / "train.jsonl").read_text().splitlines()]
    rows = [row | {"negative_ids": [f"s/d{(i + n) % 60}/0" for n in (7, 14)]} for i, row in enumerate(rows)]
    (tmp_path / "data" / "named.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = {"name": "s", "rows": "named.jsonl", "corpus": "corpus.jsonl", "ranking_by": "question"}
    return source | {"kinds": ["context_ranking"], "hard": 4, "random": 0} | fields


def ranked(examples):
    """The passages of each question's ranking examples, with their labels, in order."""
    found = {}
    for example in examples:
        assert example.kind is DataKind.CONTEXT_RANKING
        found.setdefault(example.question.id, []).append((example.contexts[0].id, example.target))
    return found


def test_by_question_the_candidates_of_a_question_stand_together_its_own_negatives_among_them(config_of, tmp_path):
    config = config_of(held_back=0, sources=[by_question(tmp_path)])
    examples = built(config, tmp_path / "a")
    assert len(ranked(examples)) == 60
    runs = [example.question.id for example in examples]
    assert sum(before != after for before, after in pairwise(runs)) == 59
    for question, candidates in ranked(examples).items():
        number = int(question[1:])
        assert candidates[0] == (f"s/d{number}/0", "True")
        negatives = [passage for passage, label in candidates[1:] if label == "False"]
        assert len(negatives) == len(set(negatives)) == 4
        assert {f"s/d{(number + n) % 60}/0" for n in (7, 14)} <= set(negatives)


def test_by_question_random_negatives_come_beside_the_hard_ones_and_each_once(config_of, tmp_path):
    config = config_of(held_back=0, sources=[by_question(tmp_path, hard=2, random=3)])
    found = ranked(built(config, tmp_path / "a"))
    for candidates in found.values():
        assert len({passage for passage, _ in candidates}) == len(candidates)
    others = [len(candidates) - 3 for candidates in found.values()]
    assert 2 < sum(others) / 60 <= 3  # 3 on average, less those that were gold, or drawn twice


def test_by_question_other_kinds_are_still_made_passage_by_passage(config_of, tmp_path):
    source = by_question(tmp_path, kinds=["context_ranking", "context_qa"], passages=5, qa=1, unanswerable=0)
    found = Counter(e.kind for e in built(config_of(held_back=0, sources=[source]), tmp_path / "a"))
    assert found[DataKind.CONTEXT_RANKING] == 60 * 5
    assert 3 <= found[DataKind.CONTEXT_QA] <= 5  # of one in ten the answer is too long


def test_instructions_stand_beside_the_other_kinds(config_of, tmp_path):
    turns = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It."}]
    rows = [{"id": f"i{i}", "messages": turns if i else turns[:1]} for i in range(5)]
    (tmp_path / "data" / "chat.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chat = {"name": "chat", "rows": "chat.jsonl", "kinds": ["sft"]}
    manifest = build_blend(config_of(held_back=0, sources=[chat], counts={"chat": 10}), tmp_path / "a")
    assert [e.kind for e in read_examples(tmp_path / "a" / EXAMPLES_FILE)] == [DataKind.SFT] * 10
    assert manifest["sources"]["chat"]["dropped"] == {"no reply to learn": 1}


def test_sources_that_forbid_commercial_use_are_left_out_and_listed(config_of, tmp_path):
    base = {"rows": "train.jsonl", "corpus": "corpus.jsonl", "passages": 5, "lists": 0}
    sources = [
        base | {"name": n, "licence": of} for n, of in (("free", "CC BY 4.0"), ("nc", "CC BY-NC 4.0"), ("x", ""))
    ]
    manifest = build_blend(config_of(sources=sources, licence="commercial"), tmp_path / "a")
    assert list(manifest["sources"]) == ["free"]
    assert manifest["left_out"]["nc"] == "licence: CC BY-NC 4.0"
    assert manifest["left_out"]["x"] == "licence: not stated"


def test_an_optional_source_that_is_absent_is_listed_and_its_weight_goes_to_the_others(config_of, tmp_path):
    here = {"name": "s", "rows": "train.jsonl", "corpus": "corpus.jsonl", "kinds": ["context_ranking"]}
    gone = {"name": "gone", "rows": "none.jsonl", "optional": True}
    config = config_of(sources=[here, gone], examples=40, weights={"s": 1, "gone": 1})
    manifest = build_blend(config, tmp_path / "a")
    assert manifest["examples"] == 40
    assert "none.jsonl" in manifest["left_out"]["gone"]


@pytest.mark.parametrize(
    ("licences", "refused"),
    [
        (("CC BY 4.0", "CC BY-NC 4.0"), r"source 'b': its licence \(CC BY-NC 4.0\) does not allow commercial use"),
        (("CC BY 4.0", ""), "source 'b': the licence of 60 rows does not allow commercial use, or is not stated"),
    ],
)
def test_data_that_forbids_commercial_use_is_refused_unless_the_blend_is_for_research(
    config_of, tmp_path, licences, refused
):
    base = config_of().sources[0].model_dump()
    sources = [base | {"name": name, "licence": licence} for name, licence in zip("ab", licences, strict=True)]
    with pytest.raises(ConfigError, match=refused + r".* `licence: commercial`.* `research: true`"):
        build_blend(config_of(sources=sources, research=False), tmp_path / "refused")
    assert build_blend(config_of(sources=sources), tmp_path / "b")["use"] == "research only"
    free = build_blend(config_of(sources=sources[:1], research=False), tmp_path / "a")
    assert free["use"] == "commercial use allowed"


def test_a_blend_of_which_no_source_is_left_is_refused_with_the_reasons(config_of, tmp_path):
    source = config_of().sources[0].model_dump() | {"licence": "CC BY-NC 4.0"}
    with pytest.raises(ConfigError, match=r"no source is left to build a blend from: s \(licence: CC BY-NC 4.0\)"):
        build_blend(config_of(sources=[source], licence="commercial"), tmp_path / "a")


def test_nothing_of_an_evaluation_set_is_in_the_blend_and_the_manifest_says_what_was_found(config_of, tmp_path):
    rows = [{"id": "d", "question": "On which river lies TOWN 3?", "positive_ids": ["s/d5/0"]}]
    (tmp_path / "data" / "eval.jsonl").write_text("\n".join(map(json.dumps, rows)))
    whole = [{"name": "s", "rows": "train.jsonl", "corpus": "corpus.jsonl"}]
    of = {"evaluation": [{"rows": "eval.jsonl", "corpus": "corpus.jsonl"}], "held_back": 0, "sources": whole}
    manifest = build_blend(config_of(**of), tmp_path / "a")
    found = list(read_examples(tmp_path / "a" / EXAMPLES_FILE))
    assert {"q3", "q5"}.isdisjoint(e.question.id for e in found)
    assert "s/d5/0" not in {p.id for e in found for p in e.contexts}
    assert manifest["contamination"] == {
        "eval.jsonl": {"s": {"same question": 1, "13 words of a question": 0, "passages": 1}}
    }


def test_an_evaluation_set_that_is_absent_is_told_and_listed(config_of, tmp_path):
    row = {"id": "k", "input": "on which river lies town 3", "output": [{"answer": "number3"}]}
    (tmp_path / "data" / "kilt.jsonl").write_text(json.dumps(row))
    whole = {"name": "s", "rows": "train.jsonl", "corpus": "corpus.jsonl"}
    sets = [{"rows": "kilt.jsonl"}, {"rows": "none.jsonl", "optional": True}]
    said = []
    manifest = build_blend(config_of(evaluation=sets, held_back=0, sources=[whole]), tmp_path / "a", said.append)
    assert manifest["contamination"]["kilt.jsonl"]["s"]["same question"] == 1
    assert list(manifest["contamination"]) == ["kilt.jsonl"]
    assert manifest["not_compared_with"] == {"none.jsonl": [str(tmp_path / "data" / "none.jsonl")]}
    assert any(line.startswith("evaluation none.jsonl: not compared with, absent: ") for line in said)
    with pytest.raises(ConfigError, match=r"evaluation: .*none\.jsonl is not there"):
        build_blend(config_of(evaluation=[{"rows": "none.jsonl"}]), tmp_path / "b")


def test_the_manifest_says_where_each_source_comes_from_and_what_it_gave(config_of, tmp_path):
    manifest = build_blend(config_of(), tmp_path / "a")
    entry = manifest["sources"]["s"]
    examples = list(read_examples(tmp_path / "a" / EXAMPLES_FILE))
    assert entry["usable_rows"] == 60
    assert entry["examples"] == Counter(e.kind for e in examples)
    assert entry["tokens"] > 10 * len(examples)
    assert entry["dropped"]["answer longer than 40 words"] > 0
    assert entry["dropped"]["held back for fitting"] > 0
    for key, file in (("rows_sha256", "train.jsonl"), ("corpus_sha256", "corpus.jsonl")):
        assert entry[key] == hashlib.sha256((tmp_path / "data" / file).read_bytes()).hexdigest()
    assert entry["corpus"] == "corpus.jsonl"
    assert json.loads((tmp_path / "a" / "manifest.json").read_text()) == manifest


def test_the_manifest_has_the_hash_of_rows_that_came_from_a_hub(config_of, tmp_path):
    """The json builder stands for a hub: it streams a file without a network."""
    pytest.importorskip("datasets")
    turns = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It."}]
    found = []
    for name, number in (("a", 5), ("b", 6)):
        path = tmp_path / "data" / f"{name}.jsonl"
        path.write_text("\n".join(json.dumps({"id": f"i{i}", "messages": turns}) for i in range(number)))
        chat = {"name": "chat", "hub": {"name": "json", "files": str(path)}, "kinds": ["sft"]}
        found.append(build_blend(config_of(held_back=0, sources=[chat]), tmp_path / name)["sources"]["chat"])
    assert [len(entry["rows_sha256"]) for entry in found] == [64, 64]
    assert found[0]["rows_sha256"] != found[1]["rows_sha256"]


@pytest.fixture
def of_three(config_of, tmp_path):
    """Three sources that draw all kinds between them, by weight."""
    turns = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It."}]
    rows = [{"id": f"i{i}", "messages": turns} for i in range(9)]
    (tmp_path / "data" / "chat.jsonl").write_text("\n".join(map(json.dumps, rows)))
    base = {"rows": "train.jsonl", "corpus": "corpus.jsonl"}
    sources = [base | {"name": "s"}, {"name": "chat", "rows": "chat.jsonl", "kinds": ["sft"]}, base | {"name": "t"}]
    of = {"sources": sources, "weights": {"s": 2, "chat": 1, "t": 2}, "evaluation": [{"rows": "dev.jsonl"}]}
    (tmp_path / "data" / "dev.jsonl").write_text(json.dumps({"id": "d", "question": "On which river lies town 3?"}))
    return lambda **fields: config_of(**of | {"examples": 300} | fields)


class Killed(Exception):  # noqa: N818 - as a kill would, it ends the run
    """Stands for a kill."""


def killed_at(text):
    def step(said, _done, _total):
        if said == text:
            raise Killed

    return step


FILES = (EXAMPLES_FILE, "manifest.json")


def test_a_killed_blend_goes_on_with_the_sources_that_are_done(of_three, tmp_path):
    build_blend(of_three(), tmp_path / "whole")
    for place in ("chat: reading rows", "t: mining negatives", "t: drawing lists of passages"):
        with pytest.raises(Killed):
            build_blend(of_three(), tmp_path / "a", progress=killed_at(place))
    assert not (tmp_path / "a" / EXAMPLES_FILE).exists()
    said, steps = [], set()
    build_blend(of_three(), tmp_path / "a", said.append, lambda text, _done, _total: steps.add(text.partition(":")[0]))
    assert [line for line in said if "kept from the run before" in line] == [said[1], said[2]]
    assert steps == {"t", "reading evaluation sets"}
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("place", ["rankrag.blend.parts.write_whole", "rankrag.blend.mixture.write_lines"])
def test_a_full_disk_is_said_and_what_is_done_is_kept(of_three, tmp_path, monkeypatch, place):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); make room .*goes on with"):
            build_blend(of_three(), tmp_path / "a")
    assert (tmp_path / "a" / "parts").is_dir()
    assert build_blend(of_three(), tmp_path / "a")["examples"] == 300


def test_data_that_is_gone_meanwhile_is_not_said_to_be_unwritable(of_three, tmp_path, monkeypatch):
    def gone(*_, **__):
        (tmp_path / "data" / "gone.jsonl").open()
        yield []

    monkeypatch.setattr("rankrag.blend.mixture.source_groups", gone)
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl"):
        build_blend(of_three(), tmp_path / "a")


@pytest.mark.parametrize("change", ["seed", "data", "evaluation", "weights"])
def test_what_was_made_of_other_settings_or_data_is_made_anew(of_three, tmp_path, change):
    with pytest.raises(Killed):
        build_blend(of_three(), tmp_path / "a", progress=killed_at("t: mining negatives"))
    rows = tmp_path / "data" / {"evaluation": "dev.jsonl"}.get(change, "corpus.jsonl")
    if change in ("data", "evaluation"):
        rows.write_text(rows.read_text().replace("own 3", "own 33"))
    fields = {"seed": {"seed": 1}, "weights": {"examples": 200}}.get(change, {})
    said = []
    build_blend(of_three(**fields), tmp_path / "a", said.append)
    build_blend(of_three(**fields), tmp_path / "whole")
    assert [line.partition(":")[0] for line in said if "kept" in line] == (["chat"] if change == "data" else [])
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_source_that_turns_out_to_be_left_out_changes_the_share_of_one_that_was_done(of_three, tmp_path):
    with pytest.raises(Killed):
        build_blend(of_three(), tmp_path / "a", progress=killed_at("t: mining negatives"))
    config = of_three()
    (tmp_path / "data" / "chat.jsonl").unlink()
    fields = [source.model_copy(update={"optional": True}) for source in config.sources]
    manifest = build_blend(config.model_copy(update={"sources": tuple(fields)}), tmp_path / "a")
    assert {name: sum(of["examples"].values()) for name, of in manifest["sources"].items()} == {"s": 150, "t": 150}


def test_the_bytes_do_not_depend_on_hash_seed_or_processor(of_three, tmp_path):
    """Passages are of few words, so that many are as good as the k-th best."""
    (tmp_path / "config.json").write_text(of_three().model_dump_json())
    code = (
        "import sys; from pathlib import Path; from rankrag.config.blend import BlendConfig\n"
        "from rankrag.blend.mixture import build_blend\n"
        "build_blend(BlendConfig.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))"
    )
    for name, plain in (("1", {}), ("2", {"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3"})):
        env = os.environ | {"PYTHONHASHSEED": name, "OMP_NUM_THREADS": name} | plain
        arguments = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "config.json"), str(tmp_path / name)]
        subprocess.run(arguments, check=True, env=env)
    for file in FILES:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_words_count_one_point_three_tokens_and_a_passage_that_examples_share_counts_once():
    question = Question("q", "1 2 3 4 5 6 7 8 9 10", (Message("user", "one"),))
    passage = Passage("p", " ".join(["word"] * 20))
    group = [Example(DataKind.CONTEXT_QA, "s", question, (passage,), "four words of target")] * 2
    assert group_tokens(group) == 26 + 2 * (13 + 1 + 5)


def test_a_hub_that_cannot_be_reached_is_asked_once(config_of, tmp_path, monkeypatch):
    asked = []

    def unreachable(hub, **_):
        asked.append(hub.name)
        raise HubUnreachableError(hub.name, "no route")

    monkeypatch.setattr("rankrag.blend.sources.hub_rows", unreachable)
    sources = [{"name": name, "hub": {"name": f"hub/{name}"}} for name in "ab"]
    with pytest.raises(ConfigError, match=r"hub/a: the hub .* \(no route\).*hub/b: .*asked for another source"):
        build_blend(config_of(sources=sources), tmp_path / "a")
    assert asked == ["hub/a"]


def test_a_source_of_which_evaluation_sets_leave_nothing_is_named(config_of, tmp_path):
    with pytest.raises(ConfigError, match=r"source 's': no rows are left \(.*question of an evaluation set"):
        build_blend(config_of(evaluation=[{"rows": "train.jsonl"}]), tmp_path / "a")
