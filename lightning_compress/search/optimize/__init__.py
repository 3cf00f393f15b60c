"""Bayesian optimization of compressed files. How the next file that is evaluated is chosen:

1. :mod:`.bayesian_optimization` runs the loop over one family of plans, until nothing is expected to improve.
2. :mod:`.posterior` groups the trials so far by the surrogate that they inform, and conditions each surrogate once.
3. :mod:`.trial_data` gives the trials of a surrogate as tensors: coordinates, drops and their noise, divergences.
4. :mod:`.surrogate` averages :mod:`.gaussian_process` over hyper-parameters.
5. :mod:`.search_space` draws candidates: all parts stronger together, or a good trial with one or two parts changed.
6. :mod:`.acquisition` multiplies the probability that a candidate is feasible by the bytes saved; the one with the most
   expected improvement is evaluated.
"""
