"""The experiments by name: one module each, which defines the points to measure and the rows of the result."""

from recipes.paper.experiments.experiment import Experiment
from recipes.paper.experiments.fig1 import FIG1
from recipes.paper.experiments.fig5 import FIG5
from recipes.paper.experiments.fig6 import FIG6
from recipes.paper.experiments.fig7 import FIG7
from recipes.paper.experiments.fig8 import FIG8
from recipes.paper.experiments.table1 import TABLE1
from recipes.paper.experiments.table2 import TABLE2

EXPERIMENTS: dict[str, tuple[Experiment, ...]] = {
    "table1": (TABLE1, FIG1),
    "fig5": (FIG5,),
    "fig6": (FIG6,),
    "fig7": (FIG7,),
    "fig8": (FIG8,),
    "table2": (TABLE2,),
    "table3": (TABLE2,),
    "all": (TABLE2, TABLE1, FIG1, FIG6, FIG7, FIG8, FIG5),
}

__all__ = ["EXPERIMENTS", "Experiment"]
