"""Pictures of what compression does: plain numbers in, a matplotlib figure out."""
