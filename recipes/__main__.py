"""``python -m recipes``: see :mod:`recipes.command`."""

from recipes.command import main

if __name__ == "__main__":
    main()
