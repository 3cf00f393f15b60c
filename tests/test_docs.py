"""The written pages: line length, words for the parts of the package, relative links, and the names of the API."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightning_compress
from benchmarks.speed import scale

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
SOURCES = [path for folder in ("lightning_compress", "recipes", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
MAX_COLUMNS = 120
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LINK_ALONE = re.compile(rf"\s*(?:[-*] )?{LINK.pattern}[.,;]?\s*")
# Buildings as a metaphor for the package. "floor" as a number is allowed, so these are phrases.
BANNED = re.compile(
    r"\b(?:(?:the|this|our|whole) house|house (?:format|style|rules?)|(?:the|import|these|lower|upper) floors?"
    r"|floors? (?:below|above|of the package|\d)|(?:the|these|own|other) rooms?|rooms (?:of|are|for)|a room of)\b",
    re.IGNORECASE,
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_code(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line outside code blocks, fenced or indented by four spaces."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        marker = re.match(r"\s*(```|~~~)", line)
        if marker and fence in ("", marker.group(1)):
            fence = "" if fence else marker.group(1)
        elif not fence and not line.startswith("    "):
            yield number, line


def long_lines(text: str) -> list[int]:
    """Numbers of the prose lines that are too long; tables, headings and lines of one link are not prose."""
    return [
        number
        for number, line in without_code(text)
        if len(line) > MAX_COLUMNS and not line.startswith(("|", "#")) and not LINK_ALONE.fullmatch(line)
    ]


def banned_phrases(text: str) -> list[str]:
    """The banned phrases of a page or a Python file, those that are wrapped over two lines included."""
    return BANNED.findall(re.sub(r"\s+(?:# )?", " ", text))


def broken_links(page: Path) -> list[str]:
    """Relative links of a page whose file does not exist."""
    lines = (re.sub(r"`[^`]*`", "", line) for _, line in without_code(page.read_text(encoding="utf-8")))
    targets = [target for line in lines for target in LINK.findall(line)]
    files = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    return [file for file in files if file and not (page.parent / file).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_prose_is_wrapped(page: Path) -> None:
    assert long_lines(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_to_files(page: Path) -> None:
    assert broken_links(page) == []


def test_every_public_name_is_in_the_api_reference() -> None:
    described = {
        name for page in (ROOT / "docs/api").glob("*.md") for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)
    }
    assert {f"lightning_compress.{name}" for name in lightning_compress.__all__} <= described


def test_roles_of_docstrings_become_links_or_code() -> None:
    pytest.importorskip("griffe")
    extension = runpy.run_path(str(ROOT / "docs/extensions/cross_references.py"))
    text = "See :class:`~lightning_compress.Plan`, :meth:`Archive.open` and ``name``."
    assert extension["ROLE"].sub(extension["as_markdown"], text) == (
        'See <autoref identifier="lightning_compress.Plan" optional><code>Plan</code></autoref>, `Archive.open` and '
        "``name``."
    )


def test_the_package_is_not_called_a_building() -> None:
    found = {name(path): banned_phrases(path.read_text(encoding="utf-8")) for path in [*PAGES, *SOURCES]}
    assert {path: phrases for path, phrases in found.items() if phrases} == {}


def test_long_prose_is_found() -> None:
    words = "word " * 25
    code, indented = f"```python\n{words}\n```", f"    {words}"
    link = f"- [text](https://example.org/{'a' * MAX_COLUMNS})"
    text = "\n".join([words, code, indented, f"| {words} |", f"# {words}", link, f"{link} and more", f"- {words}"])
    assert long_lines(text) == [1, 9, 10]


@pytest.mark.parametrize(
    "text", ["The house", "import\n# floors", "Floor 0", "a lower\nfloor", "the rooms", "a room of"]
)
def test_phrases_about_buildings_are_found(text: str) -> None:
    assert len(banned_phrases(f"x = 1  # {text} x")) == 1


@pytest.mark.parametrize(
    "text", ["math.floor(x)", "floor: where the axis begins", "house houses|n haus", "no room for it"]
)
def test_other_uses_of_the_words_are_allowed(text: str) -> None:
    assert banned_phrases(text) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[a](page.md#part) [b](#part) [c](https://x.y/z.md)\n`[d](code.md)` ![e](gone.png) [f](gone.md#x)\n"
    )
    assert broken_links(page) == ["gone.png", "gone.md"]


ROW = re.compile(r"^\| \d+ \| (.*) \| (`.*`) \|$", re.M)
WALK = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


def missing_names(row: tuple[str, str]) -> list[str]:
    """Functions and classes that a stop of the walk names, and its files do not define."""
    stop, files = row
    sources = [
        (ROOT / "lightning_compress" / file).read_text(encoding="utf-8") for file in re.findall("`(.*?)`", files)
    ]
    defined = {name for source in sources for name in re.findall(r"^ *(?:def|class) (\w+)", source, re.M)}
    return [name for name in re.findall(r"`(\w+)`", stop) if name not in defined]


def test_the_walk_of_a_tensor_has_at_most_ten_stops_that_exist() -> None:
    stops = ROW.findall(WALK)
    assert 5 < len(stops) <= 10
    assert [missing_names(stop) for stop in stops] == [[]] * len(stops)
    assert missing_names(("`gone` and `encode`", "`coding/choose.py`")) == ["gone"]


def test_the_files_that_the_walks_name_exist() -> None:
    named = set(re.findall(r"`([\w/]+/(?:\w+\.py)?)`", WALK))
    assert len(named) > 15
    assert [
        file for file in named if not any((folder / file).exists() for folder in (ROOT, ROOT / "lightning_compress"))
    ] == []


def test_the_times_of_large_models_follow_from_the_measured_rates():
    lines = scale.rows(scale.measured_rates(scale.RESULTS.read_text()))
    assert len(lines) == 2 + len(scale.MODELS) * len(scale.METHODS)
    assert "\n".join(lines) in (ROOT / "docs" / "scale.md").read_text()
