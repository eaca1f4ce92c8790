"""Markers of exercises in the source."""

from __future__ import annotations

import pytest

from senumpy.markers import blocks, marked_functions, without_markers

TEXT = """\
def f(x):
    # exercise f: 2 points, level 1, lesson 3 "A heading";
    #   given: g, h
    # a comment of the solution
    return x
    # end of exercise


# exercise f
def g(x):
    return x
# end of exercise
"""


def test_parts_are_found_with_their_lines_and_words() -> None:
    first, second = blocks(TEXT)
    assert (first.name, first.start, first.first, first.last, first.end) == ("f", 1, 3, 4, 5)
    assert first.text == '2 points, level 1, lesson 3 "A heading"; given: g, h'
    assert (second.name, second.text, second.start, second.end) == ("f", "", 8, 11)


def test_a_first_comment_of_the_solution_is_no_continuation_of_a_marker() -> None:
    text = "# exercise f\n#   indented\nx = 1\n# end of exercise\n"
    assert blocks(text)[0].first == 1


def test_functions_with_a_part_of_an_exercise() -> None:
    assert marked_functions(TEXT + "\n\ndef h(x):\n    return x\n") == ["f", "g"]
    other = TEXT.replace("# exercise f\n", "# exercise g\n")
    assert marked_functions(other, besides="f") == ["g"]


def test_without_markers_all_else_stays() -> None:
    plain = without_markers(TEXT)
    assert "exercise" not in plain
    assert "given" not in plain
    assert plain.count("return x") == 2
    assert "# a comment of the solution" in plain
    assert plain.endswith("return x\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# exercise f\nx = 1\n", "has no end"),
        ("x = 1\n# end of exercise\n", "without its beginning"),
        ("# exercise f\n# exercise g\n# end of exercise\n", "begins within f"),
    ],
)
def test_a_marker_without_its_partner_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        blocks(text)
