"""A run of Weights & Biases that remembers what it is given."""

from __future__ import annotations


class Config(dict):
    """A run's configuration."""

    def update(self, values, allow_val_change=False):
        super().update(values)


class FakeRun:
    """An online run; uploads are complete at once, or fail as the test demands.

    Attributes:
        config: its configuration.
        axes: pattern of metric names → step metric.
        logged: the values of each step.
        artifacts: each artifact with its aliases.
    """

    id, entity, project, name, dir = "r1", "me", "tests", "fake", ""
    offline = disabled = False
    step = 0

    def __init__(self, refuse=None, fail=None) -> None:
        self.refuse, self.fail = refuse, fail
        self.config, self.axes, self.summary, self.logged, self.artifacts = Config(), {}, {}, [], []

    def log(self, values):
        self.logged.append(values)

    def define_metric(self, name, step_metric):
        self.axes[name] = step_metric

    def log_artifact(self, artifact, aliases):
        if self.refuse:
            raise self.refuse
        self.artifacts.append((artifact, aliases))
        return self

    def wait(self):
        if self.fail:
            raise self.fail
