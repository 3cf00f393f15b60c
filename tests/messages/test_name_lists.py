"""Lists of names in messages: all of few, the first of many and how many more there are."""

from lightning_compress.messages.name_lists import first_names


def test_few_names_are_all_shown_and_of_many_the_first_and_a_number():
    assert first_names([]) == ""
    assert first_names(["a", "b", "c", "d", "e"]) == "a, b, c, d, e"
    assert first_names(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d, e, and 1 more"
    assert first_names(["a", "b", "c"], 2, "; ") == "a; b; and 1 more"
    assert first_names(["a", "b"], 2, total=1000) == "a, b, and 998 more"
