"""Checks that every network makes of its sizes."""


def check_sizes(**sizes: int) -> None:
    """Raise ``ValueError`` for the first size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: expected 1 or more")


def check_shares(**shares: float) -> None:
    """Raise ``ValueError`` for the first share outside 0 … 1 (1 itself excluded)."""
    for name, share in shares.items():
        if not 0.0 <= share < 1.0:
            raise ValueError(f"{name} is {share}: expected a share from 0 up to, but not including, 1")
