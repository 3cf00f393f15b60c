"""Bayesian optimization of compressed files. How the next file that is evaluated is chosen:

1. :mod:`.bayesian_optimization` runs the loop over one family of plans, until nothing is expected to improve.
2. :mod:`.search_space` draws candidates: all parts stronger together, or a good trial with one or two parts changed.
3. :mod:`.trial_data` gives the trials so far as tensors: coordinates, drops and their noise.
4. :mod:`.surrogate` averages :mod:`.gaussian_process` over hyper-parameters: for each candidate the probability of
   feasibility. Where divergences from the exact weights were measured, :mod:`.divergence_model` predicts those.
5. :mod:`.acquisition` multiplies the probability by the bytes saved; the candidate with the most expected improvement
   is evaluated.
"""
