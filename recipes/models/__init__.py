"""Translation networks, plain torch: each offers ``encode`` and ``step`` of :mod:`recipes.models.network`."""
