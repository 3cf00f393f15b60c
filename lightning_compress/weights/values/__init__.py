"""The values of tensors: as bytes and in chunks, their moments, and the fingerprint of a model."""
