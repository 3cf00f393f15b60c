"""Parts of files that are read as files of their own."""

from __future__ import annotations

import io
import zipfile

import pytest

from lightning_compress.files import ChangedFileError, Source, SourcePart


def test_a_part_is_read_like_a_file(tmp_path):
    path, content = tmp_path / "m", bytes(range(200))
    path.write_bytes(b"before" + content + b"after")
    part = SourcePart(Source(str(path)), 6, len(content))
    file, expected = part.as_file(), io.BytesIO(content)
    for offset, whence, size in ((0, 0, 3), (-5, 2, 50), (2, 0, -1), (1, 1, 4), (300, 0, 5), (-3, 1, 2)):
        assert file.seek(offset, whence) == expected.seek(offset, whence)
        assert file.read(size) == expected.read(size)
    with pytest.raises(ValueError, match="cannot seek to byte -1"):
        file.seek(-1)
    target = bytearray(4)
    part.read_into(196, memoryview(target))
    assert target == content[196:]
    with pytest.raises(ValueError, match="its bytes end at 200, expected 201"):
        part.read_into(197, memoryview(target))


def test_a_zip_archive_within_a_file(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("name", "text")
    (tmp_path / "m").write_bytes(b"x" * 1000 + inner.getvalue() + b"y" * 1000)
    part = SourcePart(Source(str(tmp_path / "m")), 1000, len(inner.getvalue()))
    assert zipfile.ZipFile(part.as_file()).read("name") == b"text"
    (tmp_path / "m").write_bytes(b"short")
    with pytest.raises(ChangedFileError, match="was changed or cut short"):
        part.as_file().read()
