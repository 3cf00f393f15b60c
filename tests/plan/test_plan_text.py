"""YAML that is hostile or odd ends in one PlanError of a few lines, at once; patterns take linear time."""

from __future__ import annotations

import time

import pytest
from each_case import naming

from lightning_compress import Half, Plan, Rule
from lightning_compress.errors import PlanError
from lightning_compress.plan.plan_text import read_yaml
from lightning_compress.weights import matches

LAUGHS = "rules: {a0: &l0 [x,x,x,x,x,x,x,x,x], " + ", ".join(
    f"a{i + 1}: &l{i + 1} [{','.join(['*l' + str(i)] * 9)}]" for i in range(8)
)
TEXTS = {
    "no date": "rules: 2001-99-99",
    "a date": "rules: 2001-01-01",
    "a huge number": "rules: " + "9" * 5000,
    "no number": "rules: !!int x",
    "no truth value": "rules: !!bool x",
    "no time": "rules: !!timestamp x",
    "binary": "rules: !!binary x",
    "a set": "rules: !!set {a}",
    "an object": "rules: !!python/object/apply:os.system [id]",
    "nested lists": "[" * 2000,
    "nested mappings": "{a: " * 2000,
    "nested blocks": "".join(f"{' ' * depth}a:\n" for depth in range(300)),
    "a billion laughs": LAUGHS + "}\n",
    "an alias of itself": "rules: &a [*a]",
    "aliases of many values": "a: &a [" + "1, " * 2000 + "]\nrules: [" + "*a, " * 60 + "]",
    "merge keys of many values": "a: &a {"
    + ", ".join(f"k{k}: 1" for k in range(2000))
    + "}\nrules: {<<: ["
    + "*a, " * 60
    + "]}",
    "a sexagesimal number": "rules: 1" + ":1" * 250,
    "a sexagesimal fraction": "rules: 1" + ":1" * 250 + ".5",
    "a hexadecimal number": "rules: 0x" + "f" * 5000,
    "a large number of a method": "rules: [{tensors: '*', methods: [{interval: {bits: 0x" + "f" * 600 + "}}]}]",
    "a key twice over": "? [a]\n: 1",
    "an unknown alias": "rules: *a",
    "a wrong merge": "rules:\n  <<: 3",
    "a tab": "rules:\n\t- a",
    "a NUL": "rules: \0",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_error_is_ours_and_short(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan._from_text(text)
    assert len(str(caught.value)) < 600


def test_ordinary_plans_with_anchors_are_read() -> None:
    text = "methods: &m [half]\nrules:\n- {tensors: '*.bias', methods: *m}\n- {tensors: '*', methods: *m}\n"
    assert read_yaml(text)["rules"][1] == {"tensors": "*", "methods": ["half"]}


def test_patterns_take_linear_time() -> None:
    start = time.process_time()
    assert not matches("*a" * 40 + "*b", "a" * 2000)
    assert matches("*a" * 40 + "*b", "a" * 2000 + "b")
    letters = ["".join(chr(97 + (i * j) % 26) + "*" for j in range(8)) for i in range(1, 12)]
    Plan(*(Rule(f"*{text}", Half()) for text in letters))
    assert time.process_time() - start < 10  # minutes, where each star tries all places


def test_stars_match_as_in_a_search_of_all_places() -> None:
    """A star may take any run of characters, so taking the first place of each part loses no match."""

    def slow(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return slow(pattern[1:], name) or (bool(name) and slow(pattern, name[1:]))
        return bool(name) and pattern[0] in ("?", name[0]) and slow(pattern[1:], name[1:])

    patterns = [
        "*",
        "**",
        "a*",
        "*a",
        "*a*",
        "a*b*a",
        "*ab*ba*",
        "?*?",
        "*?a?*b",
        "a**b",
        "*.*",
        "",
        "a",
        "*a*a*a",
        "(*)",
        "*\\*",
    ]
    names = ["", "a", "b", "ab", "aba", "abba", "aabab", "a.b", "..", "abab", "baab", "aaa", "(a)", "\\", "a\nb"]
    for pattern in patterns:
        for name in names:
            with naming(f"{pattern!r} on {name!r}"):
                assert matches(pattern, name) == slow(pattern, name)
