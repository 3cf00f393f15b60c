import shutil
import sys
from pathlib import Path

import pytest
from result_files import TABLES, write

from recipes.paper.execution import publisher as publishing
from recipes.paper.execution.publisher import publish, table
from recipes.paper.results.model_results import Results
from recipes.paper.tables.paper_tables import SECTIONS, tables


class Run:
    def __init__(self):
        self.finished = 0

    def finish(self):
        self.finished += 1


class StandIn:
    """Takes what Lightning's logger for Weights & Biases takes."""

    def __init__(self, **settings):
        self.settings, self.tables, self.images = settings, {}, {}
        self.experiment = Run()

    def log_metrics(self, metrics, step=None):
        raise AssertionError("no scalars are logged")

    def log_table(self, key, columns, data, step=None):
        self.tables[key] = (columns, data)

    def log_image(self, key, images, step=None):
        self.images[key] = images


@pytest.fixture
def runs(monkeypatch):
    """The runs that are started."""
    made = []

    def start(**settings):
        made.append(StandIn(**settings))
        return made[-1]

    monkeypatch.setattr("pytorch_lightning.loggers.WandbLogger", start)
    return made


def pictures(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".csv")


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("table1", ["fig4", "fig4-paper"]), ("fig1", ["fig1"]), ("fig6", ["fig6"]), ("table2", [])],
)
def test_an_experiment_has_its_pictures_beside_its_results(tmp_path, name, drawn, caplog):
    publish(write(tmp_path), name, None)
    assert pictures(tmp_path) == sorted(f"{picture}.{ending}" for picture in drawn for ending in ("png", "svg"))
    assert not caplog.records


def test_what_the_experiments_write_is_what_is_read_and_drawn(results, tmp_path, caplog):
    folder = Path(shutil.copytree(results, tmp_path / "transformer"))
    for file in results.glob("*.csv"):
        if file.stem != "baseline":
            publish(folder, file.stem, None)
    assert not caplog.records
    assert {path.name for path in folder.glob("*.svg")} == {f"{name}.svg" for name in publishing.PICTURES}
    assert tables([Results.read(folder)]).count("### ") == len(SECTIONS)


def test_bits_of_which_none_keeps_bleu_still_have_a_picture(tmp_path, caplog):
    publish(write(tmp_path, "baseline", "fig7", fig7=TABLES["fig7"][:2]), "fig7", None)
    assert pictures(tmp_path) == ["fig7.png", "fig7.svg"]
    assert not caplog.records


def test_a_run_takes_rows_and_pictures(tmp_path, runs):
    publish(write(tmp_path / "mine"), "fig8", "paper")
    (run,) = runs
    assert (run.settings["project"], run.settings["group"], run.settings["job_type"]) == ("paper", "mine", "fig8")
    assert run.settings["config"]["bleu"] == 37.6
    columns, rows = run.tables["paper/fig8"]
    assert columns == ["bits", "coverage", "formula", "ratio", "bytes"]
    assert rows == [[2, None, None, None, None], [4, 0.9, 4.4444, 5.0, 800], [8, 0.995, 3.9, 3.6, 1111]]
    assert run.images["paper/fig8-picture"][0].shape[2] == 3
    assert run.experiment.finished == 1


@pytest.mark.parametrize("name", [name for name in TABLES if name != "baseline"])
def test_every_table_has_the_columns_of_its_file(tmp_path, name):
    columns, rows = table(Results.read(write(tmp_path)), name)
    header, *lines = TABLES[name]
    assert sorted(columns) == sorted(header.split(","))
    assert len(rows) == len(lines)


def test_no_project_means_no_run(tmp_path, runs):
    publish(write(tmp_path), "fig8", None)
    assert runs == []


def test_a_run_that_cannot_start_is_logged_and_the_pictures_stay(tmp_path, monkeypatch, caplog):
    def refuse(**settings):
        raise ModuleNotFoundError("no wandb here")

    monkeypatch.setattr("pytorch_lightning.loggers.WandbLogger", refuse)
    publish(write(tmp_path), "fig7", "paper")
    assert "the project 'paper' of Weights & Biases did not take fig7: no wandb here" in caplog.text
    assert pictures(tmp_path) == ["fig7.png", "fig7.svg"]


def test_a_run_that_fails_on_the_way_is_finished(tmp_path, runs, monkeypatch, caplog):
    def fail(*_):
        raise OSError("over quota")

    monkeypatch.setattr(publishing, "log_table", fail)
    publish(write(tmp_path), "fig7", "paper")
    assert "over quota" in caplog.text
    assert runs[0].experiment.finished == 1


def test_a_picture_that_fails_does_not_keep_others_away(tmp_path, monkeypatch, caplog):
    def fail(model):
        raise ValueError("no colour left")

    monkeypatch.setitem(publishing.PICTURES, "fig4", fail)
    publish(write(tmp_path), "table1", None)
    assert "there is no picture fig4: no colour left" in caplog.text
    assert pictures(tmp_path) == ["fig4-paper.png", "fig4-paper.svg"]


def test_malformed_results_are_logged(tmp_path, caplog):
    write(tmp_path, fig7=("bits",))
    publish(tmp_path, "fig7", None)
    assert "the results cannot be shown" in caplog.text
    assert "has no column bleu" in caplog.text


def test_without_matplotlib_the_results_stay_and_the_log_says_what_to_install(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    publish(write(tmp_path, "baseline", "fig7"), "fig7", None)
    assert "there is no picture fig7: charts need matplotlib: pip install" in caplog.text
    assert pictures(tmp_path) == []
