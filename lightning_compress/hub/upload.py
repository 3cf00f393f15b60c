"""What is saved of a module in a folder: a new compressed file, or one that is there already."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from torch import nn

from lightning_compress.archive import Archive, is_archive
from lightning_compress.compression import compress
from lightning_compress.errors import HubError
from lightning_compress.files import read_bytes, replace_file
from lightning_compress.hub.saved import module_class
from lightning_compress.plan import DEFAULT_PLAN, Plan
from lightning_compress.weights import match_state


@dataclass(frozen=True, eq=False)
class Upload:
    """What is saved in a folder.

    Attributes:
        archive: the content of the file.
        source: the file that is copied; None if the archive was made in memory.
        repository: that the folder is uploaded to.
    """

    archive: Archive
    source: str | None
    repository: str | None

    def save(self, path: Path) -> None:
        """Write the file; a file of this package there is replaced."""
        if self.source is None:
            self.archive.save(path)
        else:
            replace_file(
                str(path), [read_bytes(self.source)], lambda written: Archive.open(written).verify(), is_archive
            )


def upload_of(
    module: object,
    plan: Plan | str | PathLike[str] | None,
    file: str | PathLike[str] | None,
    repository: str | None,
) -> Upload:
    """What is saved of a module; arguments and errors as for ``CompressedModelHubMixin.push_to_hub``."""
    module_class(type(module))
    assert isinstance(module, nn.Module)
    if plan is not None and file is not None:
        raise HubError(f"a plan and the file {fspath(file)} are given: give one of them")
    if file is None:
        return Upload(compress(module, DEFAULT_PLAN if plan is None else plan), None, repository)
    source = fspath(file)
    archive = Archive.open(source)
    archive.verify()
    tensors = {name: archive.tensors.deferred(name) for name in archive.manifest.names}
    match_state(module.state_dict(), tensors, excluded=archive.manifest.excluded, source=source)
    return Upload(archive, source, repository)
