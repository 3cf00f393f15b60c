"""Measures what the package promises about files: under fuzzing, crashes, power loss, failing disks and long runs.

    python -m benchmarks.reliability.fuzz --inputs 10000000 --state fuzz.json
    python -m benchmarks.reliability.crash --trials 500 --seed 1 --resume crash.json
    python -m benchmarks.reliability.power_loss
    python -m benchmarks.reliability.file_systems
    python -m benchmarks.reliability.determinism [--python INTERPRETER]
    python -m benchmarks.reliability.compatibility --python OLDEST NEWEST
    python -m benchmarks.reliability.long_run --saves 2000

Each command prints what it found; with ``--out``, ``--state`` or ``--resume`` it also writes JSON.
"""
