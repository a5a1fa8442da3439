from __future__ import annotations

import pytest

from rankrag.errors import ConfigError
from rankrag.retired import OPTIONS, refuse_retired


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_gone_is_refused_with_one_line_that_names_its_successor(name):
    with pytest.raises(ConfigError) as caught:
        refuse_retired(
            ["index", "--k", "3", *name.split(" ")] if name.startswith("-") else [*name.split(" "), "x.yaml"]
        )
    assert str(caught.value) == f"{name}: {OPTIONS[name]}"


def test_a_value_behind_an_equals_sign_is_refused_too():
    with pytest.raises(ConfigError, match="use --set score=true_vs_false"):
        refuse_retired(["ask", "Why?", "--score=layer_head"])


def test_a_question_that_holds_a_retired_word_is_asked():
    refuse_retired(["ask", "why does rankrag fit --head auto fail", "--dtype", "float32"])
    refuse_retired(["ask", "what does --windows mean"])
    refuse_retired(["ask", "--", "--windows"])


def test_the_command_line_ends_with_that_line_and_exit_code_2(run, capsys):
    assert run("fit", "blend.yaml", "--head", "auto") == 2
    assert capsys.readouterr().err == f"rankrag: fit --head: {OPTIONS['fit --head']}\n"
