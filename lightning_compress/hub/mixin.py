"""``save_pretrained``, ``push_to_hub`` and ``from_pretrained`` of a module, with a compressed file as its weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.files.companion_names import SUFFIX
from lightning_compress.hub.card import LIBRARY, TAGS, model_card
from lightning_compress.hub.library import DEFAULT_MODEL_CARD, ModelCard, ModelHubMixin, hf_hub_download
from lightning_compress.hub.saved import file_in, module_class, not_in_file
from lightning_compress.hub.upload import Upload, upload_of
from lightning_compress.loading import StoredModule, build
from lightning_compress.plan import Plan

FILE_NAME = f"model{SUFFIX}"
_CARD = "README.md"
_IN_WORK = "_lightning_compress_upload"
_log = logging.getLogger(__name__)


class CompressedModelHubMixin(ModelHubMixin, library_name=LIBRARY, tags=[*TAGS]):
    """Saves and loads a module as a compressed file, in a folder or in a repository of the Hugging Face hub.

    It takes the place of ``huggingface_hub.PyTorchModelHubMixin`` beside any ``torch.nn.Module``, a ``LightningModule``
    included, and has the same class keywords::

        class Net(nn.Module, CompressedModelHubMixin, license="mit"): ...

        Net(width=64).push_to_hub("me/net", plan="small")
        net = Net.from_pretrained("me/net")

    A folder holds ``model.compressed.safetensors``, the model card ``README.md`` and, as with every mixin of the hub,
    the arguments of the constructor in ``config.json``. The file holds the hyper-parameters of a ``LightningModule``
    itself, with their exact types; where ``config.json`` says the same, those are taken.
    """

    def save_pretrained(
        self,
        save_directory: str | PathLike[str],
        *,
        plan: Plan | str | PathLike[str] | None = None,
        file: str | PathLike[str] | None = None,
        **options: Any,
    ) -> str | None:
        """Write the compressed file, the configuration and the model card into a folder.

        A card that is there is kept. The module itself stays as it is.

        Args:
            save_directory: the folder, which is created.
            plan: how to compress the module; ``"safe"`` by default.
            file: a compressed file of this module, such as the result of a search, which is copied in place of
                compressing the module.
            options: ``config``, ``repo_id``, ``push_to_hub`` and further arguments of ``ModelHubMixin``.

        Raises:
            HubError: both ``plan`` and ``file`` are given.
            CompressionError: the module cannot be compressed with the plan, or the file is damaged or not of this
                module.
        """
        with self._upload(plan, file):
            result: str | None = super().save_pretrained(Path(save_directory), **options)
            return result

    def push_to_hub(
        self,
        repo_id: str,
        *,
        plan: Plan | str | PathLike[str] | None = None,
        file: str | PathLike[str] | None = None,
        **options: Any,
    ) -> str:
        """Upload what :meth:`save_pretrained` writes, in one commit.

        Args:
            repo_id: of the repository, such as ``"me/model"``, which is created where it does not exist.
            plan: as for :meth:`save_pretrained`.
            file: as for :meth:`save_pretrained`.
            options: ``private``, ``token``, ``commit_message`` and further arguments of ``ModelHubMixin``.

        Returns:
            The address of the commit.

        Raises:
            CompressionError: as for :meth:`save_pretrained`; nothing is uploaded.
        """
        with self._upload(plan, file, repo_id):
            result: str = super().push_to_hub(repo_id, **options)
            return result

    def generate_model_card(self, *args: Any, **values: Any) -> ModelCard:
        """The model card; with a ``model_card_template`` of the class, what the hub's library makes of that."""
        info = self._hub_mixin_info
        if info.model_card_template != DEFAULT_MODEL_CARD:
            return super().generate_model_card(*args, **values)
        with self._upload(None, None) as upload:
            return model_card(
                upload.archive,
                file_name=FILE_NAME,
                repository=upload.repository,
                has_mixin=True,
                card_data=info.model_card_data,
            )

    def _save_pretrained(self, save_directory: Path) -> None:
        """Called by ``ModelHubMixin.save_pretrained``."""
        with self._upload(None, None) as upload:
            upload.save(save_directory / FILE_NAME)
        if (save_directory / _CARD).exists():
            _log.warning("%s is kept as it is: remove it to have a card with the new sizes", save_directory / _CARD)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | PathLike[str] | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        config: Any = None,
        filename: str = FILE_NAME,
        map_location: str | torch.device | None = None,
        strict: bool | None = None,
        allow: Sequence[str] = (),
        max_bytes: int | None = None,
        **arguments: Any,
    ) -> nn.Module:
        """Called by ``ModelHubMixin.from_pretrained``, which takes these keywords too.

        Args:
            model_id: a folder, or a repository of the hub.
            revision: branch, tag or commit.
            cache_dir: folder of downloads.
            force_download: whether a file is downloaded although it was before.
            local_files_only: whether nothing is downloaded.
            token: of an account of the hub.
            config: the content of ``config.json``.
            filename: of the compressed file.
            map_location: the device that the module is moved to.
            strict: as for :func:`~lightning_compress.load_from_checkpoint`.
            allow: likewise.
            max_bytes: likewise.
            arguments: of the constructor, those in ``config.json`` included.

        Returns:
            The module in evaluation mode.

        Raises:
            HubError: the folder holds no such file, or the class is no torch module.
            CompressionError: as for :func:`~lightning_compress.load_from_checkpoint`.
        """
        kind = module_class(cls)
        if Path(model_id).is_dir():
            path = file_in(Path(model_id), filename)
        else:
            path = hf_hub_download(
                repo_id=model_id,
                filename=filename,
                revision=revision,
                cache_dir=None if cache_dir is None else str(cache_dir),
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        stored = StoredModule.of_archive(Archive.open(path, max_bytes=max_bytes), path)
        if "config" in cls._hub_mixin_init_parameters:
            arguments["config"] = config
        module = build(kind, stored, not_in_file(arguments, stored), strict=strict, allow=allow)
        module.eval()
        if map_location is not None:
            module.to(map_location)
        return module

    @contextmanager
    def _upload(
        self, plan: Plan | str | PathLike[str] | None, file: str | PathLike[str] | None, repository: str | None = None
    ) -> Iterator[Upload]:
        """What is saved: that of the method that called this one, else what the arguments say."""
        outer: Upload | None = vars(self).get(_IN_WORK)
        if outer is not None:
            yield outer
            return
        vars(self)[_IN_WORK] = upload = upload_of(self, plan, file, repository)
        try:
            yield upload
        finally:
            del vars(self)[_IN_WORK]
