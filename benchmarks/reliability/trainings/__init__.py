"""Miniature trainings in processes of their own, and what is wrong in the folders that they leave."""
