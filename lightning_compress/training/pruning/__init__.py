"""Pruning while a module trains: schedules, criteria, masks, and penalties that make weights 0.

From top to bottom: ``masks`` and ``penalties``, ``groups`` (what is pruned together), ``criteria``, ``grouping`` and
``schedule``.
"""
