"""A generated parallel corpus: simple English, and German with its word order and agreement.

Every English sentence has exactly one translation, but no word-for-word rule gives it: articles and adjectives
agree in gender, number and case, verbs in number, the verb stands second in a main clause and last in a subordinate
one, and an infinitive goes to the end.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# English singular and plural; German gender, singular, plural, dative plural.
NOUNS = """
man men|m mann männer männern
dog dogs|m hund hunde hunden
tree trees|m baum bäume bäumen
teacher teachers|m lehrer lehrer lehrern
friend friends|m freund freunde freunden
ball balls|m ball bälle bällen
table tables|m tisch tische tischen
bird birds|m vogel vögel vögeln
woman women|f frau frauen frauen
cat cats|f katze katzen katzen
lamp lamps|f lampe lampen lampen
flower flowers|f blume blumen blumen
city cities|f stadt städte städten
door doors|f tür türen türen
teapot teapots|f kanne kannen kannen
sister sisters|f schwester schwestern schwestern
child children|n kind kinder kindern
girl girls|n mädchen mädchen mädchen
house houses|n haus häuser häusern
book books|n buch bücher büchern
horse horses|n pferd pferde pferden
picture pictures|n bild bilder bildern
car cars|n auto autos autos
boat boats|n boot boote booten
"""
ADJECTIVES = """
old alt
young jung
small klein
big groß
red rot
new neu
quiet still
beautiful schön
green grün
clever klug
"""
# English third person, base form; German third person singular, plural, infinitive.
VERBS = """
sees see|sieht sehen sehen
loves love|liebt lieben lieben
finds find|findet finden finden
looks-for look-for|sucht suchen suchen
buys buy|kauft kaufen kaufen
paints paint|malt malen malen
knows know|kennt kennen kennen
carries carry|trägt tragen tragen
hears hear|hört hören hören
shows show|zeigt zeigen zeigen
forgets forget|vergisst vergessen vergessen
needs need|braucht brauchen brauchen
"""
MODALS = """
wants-to want-to|will wollen
must must|muss müssen
can can|kann können
may may|darf dürfen
"""
REPORTS = """
says say|sagt sagen
believes believe|glaubt glauben
hopes hope|hofft hoffen
"""
PLACES = """
in the garden|im garten
behind the church|hinter der kirche
at the lake|am see
on the bridge|auf der brücke
near the station|nahe dem bahnhof
"""
TIMES = """
today heute
tomorrow morgen
often oft
now jetzt
sometimes manchmal
"""

DEFINITE = {
    "nominative": {"m": "der", "f": "die", "n": "das", "plural": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "plural": "die"},
    "dative": {"m": "dem", "f": "der", "n": "dem", "plural": "den"},
}
INDEFINITE = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
}


def _rows(table: str) -> list[tuple[list[str], list[str]]]:
    """Lines ``english …|german …`` → their words; hyphens join English words that belong together."""
    rows = []
    for line in table.strip().splitlines():
        left, right = line.split("|") if "|" in line else line.split(" ", 1)
        rows.append((left.split(), right.split()))
    return rows


def _ending(*, definite: bool, case: str, form: str) -> str:
    """Ending of an adjective; ``form`` is a gender or ``plural``."""
    if case == "dative" or form == "plural" or (case, form) == ("accusative", "m"):
        return "en"
    if definite or form == "f":
        return "e"
    return "er" if form == "m" else "es"


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: its English words, its German words, and whether it is plural."""

    english: list[str]
    german: list[str]
    plural: bool


class Grammar:
    """Draws sentence pairs; equal seeds draw equal pairs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        tables = (NOUNS, ADJECTIVES, VERBS, MODALS, REPORTS, PLACES, TIMES)
        rows = [_rows(table) for table in tables]
        self.nouns, self.adjectives, self.verbs, self.modals, self.reports, self.places, self.times = rows

    def chance(self, share: float) -> bool:
        """True in ``share`` of the draws."""
        return self.random.random() < share

    def noun_phrase(self, case: str) -> Phrase:
        """Article, adjectives and noun in agreement."""
        (english_singular, english_plural), (gender, singular, plural_form, dative_plural) = self.random.choice(
            self.nouns
        )
        plural = self.chance(0.35)
        definite = plural or self.chance(0.6)
        form = "plural" if plural else gender
        adjectives = self.random.sample(self.adjectives, k=self.random.choice((0, 1, 1, 2)))
        ending = _ending(definite=definite, case=case, form=form)
        noun = singular if not plural else dative_plural if case == "dative" else plural_form
        article = DEFINITE[case][form] if definite else INDEFINITE[case][form]
        english_adjectives = [english[0] for english, _ in adjectives]
        english_noun = english_plural if plural else english_singular
        first = (english_adjectives or [english_noun])[0]
        english_article = "the" if definite else "an" if first[0] in "aeiou" else "a"
        return Phrase(
            [english_article, *english_adjectives, english_noun],
            [article, *(german[0] + ending for _, german in adjectives), noun],
            plural,
        )

    def clause(self, *, subordinate: bool) -> tuple[list[str], list[str]]:
        """Subject, verb, object, and perhaps a companion, a place, a time, a modal verb or a negation."""
        subject, thing = self.noun_phrase("nominative"), self.noun_phrase("accusative")
        (third, base), (singular, plural, infinitive) = self.random.choice(self.verbs)
        number = 1 if subject.plural else 0
        negated = self.chance(0.2)
        if self.chance(0.3):
            modal_english, modal_german = self.random.choice(self.modals)
            english_verb = [*modal_english[number].split("-"), base]
            finite, final = modal_german[number], [infinitive]
            negated = False
        else:
            english_verb = [(base if subject.plural else third)]
            finite, final = (plural if subject.plural else singular), []
            if negated:
                english_verb = ["do" if subject.plural else "does", "not", base]
        english = [*subject.english, *(part for word in english_verb for part in word.split("-")), *thing.english]
        middle = list(thing.german)
        if self.chance(0.25):
            companion = self.noun_phrase("dative")
            english += ["with", *companion.english]
            middle += ["mit", *companion.german]
        if self.chance(0.3):
            place_english, place_german = self.random.choice(self.places)
            english += place_english
            middle += place_german
        if negated:
            middle.append("nicht")
        if subordinate:
            return english, [*subject.german, *middle, *final, finite]
        if self.chance(0.35):
            time_english, time_german = self.random.choice(self.times)
            return [*time_english, *english], [*time_german, finite, *subject.german, *middle, *final]
        return english, [*subject.german, finite, *middle, *final]

    def sentence(self) -> tuple[str, str]:
        """One sentence in English and in German, tokenized and lower-cased."""
        if self.chance(0.25):
            speaker = self.noun_phrase("nominative")
            (third, base), (singular, plural) = self.random.choice(self.reports)
            english, german = self.clause(subordinate=True)
            english = [*speaker.english, base if speaker.plural else third, "that", *english]
            german = [*speaker.german, plural if speaker.plural else singular, ",", "dass", *german]
        else:
            english, german = self.clause(subordinate=False)
        return " ".join([*english, "."]), " ".join([*german, "."])


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """``count`` different sentence pairs."""
    grammar = Grammar(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        english, german = grammar.sentence()
        found.setdefault(english, german)
    return list(found.items())


def write_corpus(folder: Path, *, train: int, valid: int, test: int, seed: int) -> None:
    """Write ``train``, ``valid`` and ``test``, each ``.en`` and ``.de``; no sentence stands in two of them."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = pairs(train + valid + test, seed)
    for name, count in (("train", train), ("valid", valid), ("test", test)):
        part, drawn = drawn[:count], drawn[count:]
        for side, language in enumerate(("en", "de")):
            _write(folder / f"{name}.{language}", [pair[side] for pair in part])


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
