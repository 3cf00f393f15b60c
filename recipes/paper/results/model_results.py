"""Results of one model: the CSV files of one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recipes.errors import ResultsError
from recipes.paper.results.reference_values import PaperModel, paper_model
from recipes.paper.results.rows import Baseline, Bin, Combined, Covered, Pruned, Rated, Restored, Tolerance, read

TOGETHER = "all together"


@dataclass(frozen=True)
class Results:
    """Results of the experiments on one model; an experiment that was not run has no rows.

    Attributes:
        name: of the model, in tables and legends.
        baseline: the exact weights.
        pruning: table 1 and figure 4.
        histogram: figure 1.
        tolerances: figure 5, a class alone each.
        together: last row of figure 5: every class pruned at its own largest share.
        restores, coverages, rates: figures 6, 7 and 8.
        combination: table 2 or 3.
    """

    name: str
    baseline: Baseline
    pruning: tuple[Pruned, ...]
    histogram: tuple[Bin, ...]
    tolerances: tuple[Tolerance, ...]
    together: Tolerance | None
    restores: tuple[Restored, ...]
    coverages: tuple[Covered, ...]
    rates: tuple[Rated, ...]
    combination: tuple[Combined, ...]

    @classmethod
    def read(cls, folder: Path, name: str | None = None) -> Results:
        """Read a folder that the experiments wrote.

        Args:
            folder: OUT of the experiments.
            name: of the model; the folder's own by default.

        Raises:
            ResultsError: the folder holds no ``baseline.csv``, or one of its files is malformed.
        """
        baseline = read(folder / "baseline.csv", Baseline)
        if len(baseline) != 1:
            raise ResultsError(
                f"{folder / 'baseline.csv'} should hold the one row of the exact weights, and holds {len(baseline)}: "
                "name the folder that an experiment wrote with --out, or run one"
            )
        tolerances = read(folder / "fig5.csv", Tolerance)
        return cls(
            name=name or folder.resolve().name,
            baseline=baseline[0],
            pruning=read(folder / "table1.csv", Pruned),
            histogram=read(folder / "fig1.csv", Bin),
            tolerances=tuple(row for row in tolerances if row.class_name != TOGETHER),
            together=next((row for row in tolerances if row.class_name == TOGETHER), None),
            restores=read(folder / "fig6.csv", Restored),
            coverages=read(folder / "fig7.csv", Covered),
            rates=read(folder / "fig8.csv", Rated),
            combination=read(folder / "table2.csv", Combined),
        )

    @property
    def paper(self) -> PaperModel | None:
        """The paper's model of this name; if the name states no architecture, the class of the module decides.

        The class does not give the number of layers, so an RNN is then compared with the 2-layer RNN.
        """
        says = any(word in self.name.lower() for word in ("rnn", "transformer"))
        return paper_model(self.name if says else self.baseline.class_path)


def parse(argument: str) -> Results:
    """``NAME=FOLDER`` or ``FOLDER`` of a command line.

    Raises:
        ResultsError: as :meth:`Results.read`.
    """
    name, equals, folder = argument.partition("=")
    return Results.read(Path(folder), name.strip()) if equals else Results.read(Path(argument))
