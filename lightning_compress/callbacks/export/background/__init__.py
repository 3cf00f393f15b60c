"""Exports in a process of their own: the training waits only until its weights are copied.

* ``queue``: the jobs of one fit, in the training process.
* ``shared_weights``: the copy, in memory that both processes map.
* ``messages``: what the two processes say to each other.
* ``worker_process``: the worker as the training process sees it.
* ``worker``: the program that runs in the worker.
"""
