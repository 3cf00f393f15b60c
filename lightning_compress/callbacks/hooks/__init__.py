"""How a callback hooks into Lightning: checkpoints, validation, logging, and work on one rank of several."""
