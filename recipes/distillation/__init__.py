"""Distillation between the recipes' models: a teacher from a file, and its translations as training text."""

from recipes.distillation.teacher import trained_network
from recipes.distillation.teacher_text import TeacherText, main, write_teacher_text

__all__ = ["TeacherText", "main", "trained_network", "write_teacher_text"]
