from __future__ import annotations

import pytest

from experiments.measure_house import House, measure, offenders, table

LONG = "def long():\n" + "    x = 1\n" * 60


@pytest.fixture
def package(tmp_path):
    """Write files of a package; return its folder."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_lines_functions_imports_and_comments_are_counted(package):
    text = '"""Doc."""\n\nimport os\n\n\ndef f(x: int) -> int:\n    """Return x."""\n    return x  # as it is\n'
    house = measure(package(one=text, data__two="from os import (\n    path,\n)\n\n\ndef g(x):\n    return x\n"))
    assert house.files == {"data/two.py": 7, "one.py": 8}
    assert house.folder_lines() == {"data": 7, "root": 8}
    assert house.import_lines == 1 + 3
    assert house.comments == 1
    assert sorted((f.name, f.lines, f.typed) for f in house.functions) == [("f", 3, True), ("g", 2, False)]
    assert sum(house.documented) == 2
    assert len(house.documented) == 4


def test_the_share_of_functions_gives_their_length(package):
    house = measure(package(one="\n".join(f"def f{i}():\n" + "    x = 1\n" * i for i in range(1, 11))))
    assert house.function_lines(0.5) == 7
    assert house.function_lines(0.9) == 11


def test_calls_of_our_classes_with_many_positional_arguments_are_found(package):
    text = "class Wide: ...\n\n\nWide(1, 2, 3, 4, 5, 6)\nWide(1, 2, 3, 4, 5, 6, 7)\nmax(1, 2, 3, 4, 5, 6, 7)\n"
    assert measure(package(one=text)).wide_calls == ("one.py:5: Wide",)


def test_public_names_of_two_files_are_found_and_commands_may_be_named_as_what_they_run(package):
    files = dict.fromkeys(("one", "cli__two"), "def run(): ...\ndef _own(): ...\nclass Row: ...\n")
    assert measure(package(**files)).twice == {"Row": ("cli/two.py:3", "one.py:3")}


def test_every_broken_limit_is_an_offender(package):
    text = LONG + "class Wide: ...\nWide(1, 2, 3, 4, 5, 6, 7)\n" + "x = 1\n" * 300
    found = offenders(measure(package(new__one=text, new__two="class Wide: ...\n")))
    assert found == [
        "new/: 364 lines of at most 0",
        "new/one.py: 363 lines",
        "new/one.py:1: long has 61 lines",
        "new/one.py:62: Wide is also in new/two.py:1",
        "new/one.py:63: Wide is called with more than 6",
        "src: the p90 of function lines is 61, at most 22",
    ]


def test_the_table_has_a_column_for_each_tree(package):
    house = measure(package(one="def f(): ...\n"))
    assert isinstance(house, House)
    lines = table([house, house])
    assert lines[0] == "|  | before | after |"
    assert "| lines | 1 | 1 |" in lines
    assert "| function lines p50 / p90 / max | 1 / 1 / 1 |" in "\n".join(lines)
