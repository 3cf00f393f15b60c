"""``python -m recipes.paper``: see :mod:`recipes.paper.command`."""

from recipes.paper.command import main

if __name__ == "__main__":
    main()
