"""Searches that end early return the best file found so far."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_compress.search.evaluate.items import ItemsChangedError
from lightning_compress.search.trials.trials import Trials

_log = logging.getLogger(__name__)


@contextmanager
def ending_early(trials: Trials) -> Iterator[None]:
    """A block that an interrupt or an error ends without being raised, if there is an incumbent by then.

    The log says so, and ``trials.interrupted``. Scores of other items are raised: files cannot be compared by them.
    """
    try:
        yield
    except ItemsChangedError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if trials.incumbent is None:
            raise
        trials.interrupted = type(error).__name__
        _log.error(
            "the search ended early, after %d of at most %d evaluations, and its best file so far is returned: %s",
            trials.evaluator.count,
            trials.budget,
            f"{trials.interrupted}: {error}" if str(error) else trials.interrupted,
        )
