from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from experiments.paper.__main__ import main
from experiments.paper.beside import beside_section, beside_the_paper, column_of, setting_of
from experiments.paper.figures import plot_figure, render_figure, series_of
from experiments.paper.numbers import paper_numbers, paper_table
from experiments.paper.tables import render_table
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.sets import Origin
from rankrag.errors import ConfigError, DataError
from rankrag.evaluation.aggregate import Evaluation, SystemFigures
from rankrag.evaluation.description import RunDescription, SetDescription, save_description
from rankrag.evaluation.lines import Seconds
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import System

MINI = System(name="mini", retriever="bm25", n=20, k=5)


def system(name, **values):
    return System(name=name, **({"retriever": "bm25"} | values))


def described(name, questions=100, **changed):
    benchmark = BENCHMARKS[name]
    whole = SetDescription(
        name=name,
        title=benchmark.title,
        folder=name,
        metric=benchmark.metric or "",
        style=benchmark.style or "",
        split=benchmark.split,
        corpus=benchmark.corpus,
        size=questions,
        questions=tuple(str(i) for i in range(questions)),
        left_out={},
        paper=benchmark.paper,
    )
    return replace(whole, **changed)


def compared(sets, systems=(MINI,), cost=None, **means):
    """Return the figures of systems that all have the same `means`, with intervals of 0.1 to either side."""
    found = {name: Interval(v, v - 0.1, v + 0.1) for name, v in means.items()}
    rows = tuple(
        SystemFigures(
            of_set=one,
            system=s.on(one.paper),
            questions=len(one.questions),
            figures=found,
            first=found,
            outcomes={"right": 1},
            typical=Seconds(),
            slow=Seconds(),
            cost=cost and cost * s.n,
        )
        for one in sets
        for s in systems
    )
    run = RunDescription(command="", machine="", date="2026-01-01", seed=0, systems=tuple(systems), sets=tuple(sets))
    return Evaluation(Path("run"), run, rows, ())


@pytest.mark.parametrize(
    ("table", "model", "column", "metric", "printed"),
    [
        ("table2", "RankRAG 8B", "NQ", "EM", 50.6),
        ("table2", "RankRAG 70B", "TriviaQA", "Acc", 92.3),
        ("table2", "Self-RAG 13B", "PopQA", "Acc", 55.8),
        ("table3", "w/o reranking at test", "PopQA", "EM", 49.3),
        ("table4", "RankRAG 13B (Llama-2)", "FEVER", "Acc", 91.7),
        ("table5", "RankRAG 8B", "MedMCQA", "Acc", 56.90),
        ("table6", "RankRAG 8B (top 100)", "Inscit", "R@20", 73.5),
        ("table8", "Contriever + RankRAG 8B", "TriviaQA", "R@10", 90.05),
        ("table9", "RankRAG 8B", "TriviaQA", "EM", 68.8),
    ],
)
def test_cells_are_those_of_the_paper(table, model, column, metric, printed):
    assert paper_table(table).value(model, column, metric) == printed


def test_a_cell_that_is_not_printed_has_no_value():
    assert paper_table("table2").value("Self-RAG 7B", "PopQA", "EM") is None
    assert paper_table("table2").value("Atlas 11B", "PopQA", "EM") is None
    assert paper_table("table2").value("nobody", "NQ", "EM") is None
    with pytest.raises(ConfigError, match=r"table7: not known; choose table2, .*figure6"):
        paper_table("table7")


def test_every_cell_has_its_columns_metrics_and_is_a_percentage():
    for table in paper_numbers().tables.values():
        metrics = {c.name: c.metrics for c in table.columns}
        for row in table.rows:
            for column, values in row.cells.items():
                assert len(values) <= len(metrics[column]), (table.cell, row.model, column)
                assert all(v is None or 0 < v < 100 for v in values)


def test_the_averages_of_the_rankrag_rows_are_their_means_and_others_are_marked():
    table = paper_table("table2")
    for model in ("RankRAG 8B", "RankRAG 70B"):
        row = next(r for r in table.rows if r.model == model)
        first = [values[0] for column, values in row.cells.items() if column != "Avg"]
        assert fmean(first) == pytest.approx(row.cells["Avg"][0], abs=0.1)
    gpt = next(r for r in table.rows if r.model == "GPT-3.5-turbo-1106")
    assert abs(fmean(v[0] for c, v in gpt.cells.items() if c != "Avg") - gpt.cells["Avg"][0]) > 1
    assert table.known_error("GPT-3.5-turbo-1106", "Avg")
    assert paper_table("table5").known_error("PMC-LLaMA 13B", "MedQA")
    assert paper_table("table5").known_error("RankRAG 8B", "PubMedQA")
    assert not paper_table("table5").known_error("RankRAG 8B", "MedQA")
    assert "38.5†" in render_table("table2", [])


def test_every_benchmark_of_the_paper_has_a_column_and_a_setting():
    for name, benchmark in BENCHMARKS.items():
        if benchmark.paper is not None:
            column = column_of(name)
            assert any(c.name == column for t in ("table2", "table5", "table9") for c in paper_table(t).columns), name
            assert setting_of(name) == benchmark.paper
    assert setting_of("nq") == BENCHMARKS["nq-kilt"].paper
    assert (setting_of("squad"), column_of("squad")) == (None, "")


def test_a_difference_is_given_only_where_everything_is_the_papers():
    values = {"retriever": "dense", "encoder": "dragon-plus", "n": 100, "k": 5, "similarity": False, "abstain": False}
    as_paper = system("ours", **values)
    full = described("nq-kilt", 2837)
    (same,) = beside_the_paper(compared([full], [as_paper], EM=0.516))
    assert same.paper == 50.6
    assert same.differs == ()
    assert same.difference.mean == pytest.approx(1.0)
    assert same.difference.low == pytest.approx(-9.0)
    for changed, one, said in [
        (replace(full, questions=full.questions[:100]), as_paper, "100 questions (2,837)"),
        (replace(full, unranked=3), as_paper, "no passage for 3 questions"),
        (replace(full, first_stage="bm25"), as_paper, "first stage: bm25 (Dragon)"),
        (replace(full, split="test"), as_paper, "split: test (KILT dev)"),
        (replace(full, corpus="ours"), as_paper, "corpus: ours (Wikipedia of Dec 2018"),
        (full, as_paper.changed(n=20), "N = 20 (100)"),
        (full, as_paper.changed(k=10), "k = 10 (5)"),
        (full, as_paper.changed(similarity=True), "final order: as fitted (P(True) alone"),
        (full, as_paper.changed(retriever="bm25", encoder=None), "first stage: bm25 (Dragon)"),
        (full, as_paper.changed(abstain=True), "answers withheld below the threshold"),
        (full, as_paper.changed(retriever="hybrid"), "first stage: hybrid by dragon-plus (Dragon)"),
    ]:
        (row,) = beside_the_paper(compared([changed], [one], EM=0.516))
        assert row.difference is None
        assert len(row.differs) == 1
        assert row.differs[0].startswith(said)


def test_a_ranking_that_was_frozen_by_the_papers_first_stage_may_be_compared():
    frozen = described("nq-kilt", 2837, first_stage="dense by dragon-plus")
    ours = system("ours", n=100, k=5, similarity=False, abstain=False)
    (row,) = beside_the_paper(compared([frozen], [ours], EM=0.516))
    assert row.differs == ()
    origin = Origin("dense", "dragon-plus", "last", frozen.corpus, 20, 2837, "0.1.0")
    (row,) = beside_the_paper(compared([replace(frozen, origin=origin)], [ours], EM=0.516))
    assert row.differs == ("N = 20 (100)",)
    talks = described(
        "doc2dial-chatrag", 3939, first_stage="dense by dragon-multiturn", origin=replace(origin, depth=100)
    )
    (row,) = beside_the_paper(compared([talks], [ours], **{"ChatRAG F1": 0.5}))
    assert row.differs == ("searched by turns: last (speakers)",)


def test_the_whole_set_is_what_it_really_has_where_the_paper_misprints_it():
    ours = System(name="ours", setting="paper-8b")
    for size, differs in [(5359, ()), (5355, ("5,355 questions (5,359)",))]:
        rows = beside_the_paper(compared([described("triviaqa-kilt", size)], [ours], EM=0.5))
        assert {row.differs for row in rows} == {differs}
    cut = described("nq-kilt", 100)
    assert beside_the_paper(compared([cut], [ours], EM=0.5))[0].differs == ("100 questions (2,837)",)


def test_the_paper_s_setting_is_the_paper_s_on_every_set_and_of_either_size():
    sets = [described("nq-kilt", 2837), described("medqa-us", 1273), described("doc2dial-chatrag", 3939)]
    small, large = System(name="8B", setting="paper-8b"), System(name="70B", setting="paper-70b")
    assert [small.on(one.paper).encoder for one in sets] == ["dragon-plus", "medcpt", "dragon-multiturn"]
    assert {(large.on(one.paper).n, large.on(one.paper).similarity) for one in sets} == {(30, False)}
    asked = [system.changed(history_query="speakers") for system in (small, large)]
    rows = beside_the_paper(compared(sets, asked, EM=0.5, **{"MIRAGE accuracy": 0.5, "ChatRAG F1": 0.5}))
    assert {row.differs for row in rows} == {()}
    assert [(row.model, row.paper) for row in rows if row.benchmark == "nq-kilt"] == [
        ("RankRAG 8B", 50.6),
        ("RankRAG 70B", 54.2),
    ]
    talks = compared(sets[2:], [small], **{"ChatRAG F1": 0.5})
    assert beside_the_paper(talks)[0].differs == ("searched by turns: last (speakers)",)


def test_what_only_takes_a_pipeline_apart_stands_beside_nothing():
    parts = [MINI, MINI.changed(name="stops at 2", role="stopping"), MINI.changed(name="gold", role="reading")]
    assert [row.system for row in beside_the_paper(compared([described("nq")], parts, EM=0.3))] == ["mini"]


def test_a_set_of_another_task_stands_beside_no_column():
    assert (column_of("bioasq"), column_of("bioasq-yn")) == ("", "BioASQ")


def test_splits_are_compared_with_their_own_table():
    rows = beside_the_paper(compared([described("triviaqa-dpr"), described("triviaqa-kilt")], EM=0.5, Acc=0.6))
    assert [(r.benchmark, r.metric, r.paper) for r in rows] == [
        ("triviaqa-dpr", "EM", 68.8),
        ("triviaqa-dpr", "Acc", 79.9),
        ("triviaqa-kilt", "EM", 82.9),
        ("triviaqa-kilt", "Acc", 89.5),
    ]


def test_our_rows_stand_below_the_papers_with_what_differs():
    text = render_table("table2", [compared([described("nq"), described("popqa")], EM=0.283, Acc=0.35)])
    assert "| **mini** (ours) | 28.3 [18.3, 38.3] |  | 28.3 [18.3, 38.3]/35.0 [25.0, 45.0] |" in text
    assert "- NQ + wiki, mini: split: dev (KILT dev); 100 questions (2,837); corpus: " in text
    assert "ours" not in render_table("table5", [compared([described("nq")], EM=0.283)])


def test_ranking_tables_have_a_row_before_and_after():
    recall = {"answer-recall@5": 0.5, "answer-recall@10": 0.6, "answer-recall@20": 0.7}
    text = render_table("table6", [compared([described("nq")], **recall)])
    cells = "50.0 [40.0, 60.0]/60.0 [50.0, 70.0]/70.0 [60.0, 80.0]"
    assert f"| **mini, bm25 alone** (ours) | {cells} |" in text
    assert f"| **mini** (ours) | {cells} |" in text


def test_figures_take_what_belongs_to_them():
    ks = [system(f"k{k}", k=k) for k in (5, 10)] + [system(f"plain{k}", k=k, ranker="none") for k in (5, 10, 20)]
    run = compared([described("nq"), described("squad")], ks, EM=0.4)
    (six,) = series_of("figure6", [run])
    assert [p.x for p in six.points] == [5, 10]
    (one,) = series_of("figure1", [run])
    assert [p.x for p in one.points] == [5, 10, 20]
    assert series_of("figure4", [run]) == ()
    depth = compared([described("hotpotqa")], [system(f"N{n}", n=n) for n in (100, 20)], cost=0.06, EM=0.4)
    (five,) = series_of("figure5", [depth])
    assert [(p.x, p.label) for p in five.points] == [(pytest.approx(1.2), "N = 20"), (pytest.approx(6.0), "N = 100")]
    stages = [system("a", retriever="bm25"), system("b", retriever="dense")]
    (three,) = series_of("figure3", [compared([described("nq")], stages, EM=0.4)])
    assert [p.x for p in three.points] == ["bm25", "dense"]


def test_a_figure_says_what_the_paper_says_and_what_a_run_lacks():
    assert "No points of ours yet: compare models that name their ranking_pairs" in render_figure("figure4", ())
    run = compared([described("nq")], [system("a", k=5), system("b", k=10)], EM=0.4)
    text = render_figure("figure6", series_of("figure6", [run]))
    assert "| 5 | 40.0 [30.0, 50.0] |" in text
    assert "k = 5 works well" in text


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_plot_is_drawn_in_the_format_of_its_name(tmp_path, ending):
    run = compared([described("nq")], [system("a", k=5), system("b", k=10)], EM=0.4)
    series = series_of("figure6", [run])
    path = plot_figure("figure6", series, tmp_path / f"figure.{ending}")
    assert path.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r")
    with pytest.raises(ConfigError, match="no such format"):
        plot_figure("figure6", series, tmp_path / "figure.nonsense")
    with pytest.raises(DataError, match="Figure 4: these runs hold no points"):
        plot_figure("figure4", (), tmp_path / "none.svg")


def test_every_figure_stands_beside_the_paper_s_in_one_section():
    text = beside_section(compared([described("nq")], EM=0.283))
    assert "| NQ + wiki | mini | RankRAG 8B: EM | 28.3 [18.3, 38.3] | 50.6 | split: dev (KILT dev); " in text
    assert "This run has no figure that the paper prints." in beside_section(compared([described("squad")], EM=0.5))


def test_the_command_lists_prints_and_refuses(capsys, tmp_path):
    main([])
    assert "table2    Table 2: " in capsys.readouterr().out
    main(["table9"])
    assert capsys.readouterr().out.startswith("# Table 9: ")
    save_description(compared([]).description, tmp_path)
    main(["beside", "--run", str(tmp_path)])
    assert "no figure that the paper prints" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["table2", "--plot", "x.svg"])
    assert capsys.readouterr().err == "--plot: only figures have one (figure1, figure3, figure4, figure5, figure6)\n"
