"""What a module is built from: its class, the compressed file in a folder, and the arguments beside the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lightning_compress.errors import HubError
from lightning_compress.files.companion_names import SUFFIX
from lightning_compress.loading import StoredModule
from lightning_compress.messages.name_lists import first_names


def module_class(kind: type) -> type[nn.Module]:
    """The class itself.

    Raises:
        HubError: it is no torch module.
    """
    if not issubclass(kind, nn.Module):
        raise HubError(f"{kind.__qualname__} is no torch module: derive it from torch.nn.Module too")
    return kind


def file_in(folder: Path, name: str) -> str:
    """Path of the file in a folder.

    Raises:
        HubError: it is not there.
    """
    path = folder / name
    if path.is_file():
        return str(path)
    others = sorted(each.name for each in folder.glob(f"*{SUFFIX}"))
    if others:
        advice = f"it holds {first_names(others)}: name the file, from_pretrained(…, filename={others[0]!r})"
    elif (folder / "model.safetensors").is_file():
        advice = "it holds model.safetensors, which PyTorchModelHubMixin and transformers load"
    else:
        advice = "write it with save_pretrained, or give the folder or repository that holds it"
    raise HubError(f"{folder} holds no {name}; {advice}")


def not_in_file(arguments: Mapping[str, Any], stored: StoredModule) -> dict[str, Any]:
    """The arguments that say something else than the file, whose values have their exact types, such as tuples."""
    record = stored.record
    held = {
        **record.hyper_parameters,
        **({record.hparams_name: record.hyper_parameters} if record.hparams_name else {}),
    }
    return {name: value for name, value in arguments.items() if name not in held or _as_json(held[name]) != value}


def _as_json(value: object) -> object:
    """A value as it comes back from JSON; what JSON does not hold is returned as it is."""
    try:
        return json.loads(json.dumps(dict(value) if isinstance(value, Mapping) else value))
    except (TypeError, ValueError):
        return value
