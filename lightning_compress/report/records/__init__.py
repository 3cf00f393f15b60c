"""Readers of the records that callbacks and loggers leave in the folder of a run; every value is checked."""
