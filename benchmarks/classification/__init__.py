"""Accuracy on unseen data before and after compression: a convolutional network, and a BERT-like classifier."""
