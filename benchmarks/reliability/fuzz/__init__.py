"""Structure-aware fuzzing of everything that reads what others wrote: files, streams, plans, values, checkpoints.

An input is made from a sound one by a few changes that a target and a number determine, so that every input can be made
again. Checksums are repaired, so that changes reach what lies behind them. An input must be refused with an error of
the package, or be read; what is read must be what the independent reader of tests/archive reads.
"""
