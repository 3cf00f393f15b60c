"""Measurement points: one plan, one model and one text give BLEU and bytes; each point is measured once."""
