"""What a person is told: lists of names, messages that are logged once, progress bars."""
