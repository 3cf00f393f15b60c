"""Which of the evaluated files may be returned: those whose true drop is allowed, with enough certainty.

:mod:`.promise` asks the surrogate (:mod:`..optimize`) for the true drops of the trials, and takes the smallest file
that is sure enough. :mod:`.held_out` sets items apart that the search never reads, and :mod:`.confirmation` tests the
chosen file on them.
"""
