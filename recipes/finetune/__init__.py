"""From a trained checkpoint to a small file: train on with quantized weights."""

from recipes.finetune.calibration import TrainingText
from recipes.finetune.finetuning import Result, Settings, finetune, main, table

__all__ = ["Result", "Settings", "TrainingText", "finetune", "main", "table"]
