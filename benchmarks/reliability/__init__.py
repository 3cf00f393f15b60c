"""Reliability of the files beside checkpoints: crashes, power loss, failing file systems, determinism, long runs.

    python -m benchmarks.reliability.crash --trials 500 --seed 1 --resume results.json
    python -m benchmarks.reliability.power_loss
    python -m benchmarks.reliability.file_systems
    python -m benchmarks.reliability.determinism [--python INTERPRETER]
    python -m benchmarks.reliability.long_run --saves 2000

Each command prints a table and, with ``--out`` or ``--resume``, writes JSON with seed, commit, date and machine.
"""
