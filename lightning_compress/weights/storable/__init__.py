"""Which entries of a state dict are stored, in which form and under which names."""
