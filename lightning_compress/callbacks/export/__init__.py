"""The companion file of a checkpoint: which checkpoints have one, its name, how it is made, linked and deleted."""
