"""What a training takes beside network and text: the optimizer, learning-rate schedules, BLEU as a metric."""
