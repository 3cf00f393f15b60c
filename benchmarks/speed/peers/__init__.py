"""Programs that are measured in environments of their own."""
