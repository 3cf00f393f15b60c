"""The rate of a model in training: code lengths, their gradient, and the dial that reaches a size."""
