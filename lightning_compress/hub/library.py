"""What is used of ``huggingface_hub``, which only this package needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from lightning_compress.errors import MissingLibraryError

try:
    from huggingface_hub import ModelCard, ModelCardData, hf_hub_download
    from huggingface_hub.hub_mixin import DEFAULT_MODEL_CARD
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] != "huggingface_hub":
        raise
    raise MissingLibraryError("the Hugging Face hub, model cards included,", "huggingface_hub", "hub") from missing

if TYPE_CHECKING:

    class MixinInfo(Protocol):
        """What the keywords of a class say about its models."""

        model_card_template: str
        model_card_data: ModelCardData

    class ModelHubMixin:
        """The parts of the mixin that this package uses and overrides."""

        _hub_mixin_info: MixinInfo
        _hub_mixin_init_parameters: Mapping[str, object]

        def __init_subclass__(cls, **info: object) -> None:
            """Collect the keywords of the class."""

        def save_pretrained(self, save_directory: Any, **options: Any) -> str | None:
            """Write weights, configuration and card into a folder."""

        def push_to_hub(self, repo_id: str, **options: Any) -> str:
            """Upload such a folder."""
            raise NotImplementedError

        def generate_model_card(self, *args: Any, **values: Any) -> ModelCard:
            """The card of the template."""

else:
    from huggingface_hub import ModelHubMixin

__all__ = ["DEFAULT_MODEL_CARD", "ModelCard", "ModelCardData", "ModelHubMixin", "hf_hub_download"]
