from __future__ import annotations

import pytest

from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.fields import HEADING, NAMES, TITLE, explained_names, passage_terms
from rankrag.retrieval.lexical import analyse
from rankrag.types import Passage, Source


def test_terms_of_title_heading_and_names_are_repeated():
    passage = Passage("1", "--jobs=n\nWorks at once.", title="vacuumdb", source=Source("a", heading="Options"))
    terms = passage_terms(passage)
    assert terms.count("vacuumdb") == TITLE
    assert terms.count("option") == HEADING
    assert terms.count("job") == terms.count("-jobs") == 1 + NAMES
    assert terms.count("onc") == 1


def test_a_passage_without_fields_has_the_terms_of_its_text():
    assert passage_terms(Passage("1", "Cats sit.\nDogs run.")) == analyse("Cats sit.\nDogs run.")


@pytest.mark.parametrize(
    "line",
    ["max_connections (integer)", "port (integer)", "-j njobs", "--jobs=njobs", "--aggressive::", "gc.auto::",
     "git-gc::", "VACUUM FULL", "ERR_TIMEOUT | the server is busy"],
)  # fmt: skip
def test_a_line_that_names_what_follows_is_found(line):
    assert explained_names(f"Before it.\n{line}\nWhat it does.") == line


@pytest.mark.parametrize(
    "line",
    ["It is a sentence.", "max_connections is the number of connections at once.", "plain words", "- an item",
     "Use --jobs, then", "--jobs and --verbose and all the other options", "x" * 61 + "_y", "e.g. the following:"],
)  # fmt: skip
def test_other_lines_name_nothing(line):
    assert explained_names(f"{line}\nThe rest.") == ""


def test_the_passage_that_explains_a_setting_is_before_those_that_use_it(store, ids_of):
    uses = [f"Set max_lock_wait to {n} instead of the default." for n in range(12)]
    explains = "max_lock_wait (integer)\nSeconds to wait. The default is 5."
    passages = tuple(Passage(str(n), text) for n, text in enumerate([*uses, explains]))
    store.put([SourcePassages("a", "0", passages)])
    assert ids_of(store.lexical().retrieve(["What is the default value of max_lock_wait?"], 1)[0]) == ["12"]


def test_an_option_is_found_among_its_words(store, document_of, ids_of):
    store.put([document_of("a", "a set of sets", "set the set", "Give --set NAME to set one of many names.")])
    assert ids_of(store.lexical().retrieve(["--set"], 1)[0]) == ["a#2"]


def test_words_of_the_heading_path_find_a_passage_below_it(store, ids_of):
    below = Passage("1", "It is cut here.", source=Source("a", heading="Rivers > Elbe"))
    store.put([SourcePassages("a", "0", (below, Passage("2", "It is cut there.")))])
    assert ids_of(store.lexical().retrieve(["elbe"], 2)[0]) == ["1"]
