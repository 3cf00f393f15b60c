"""What a report is made of: damaged files are named and the others go on, copies count once, foreign pages stay."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from report_runs import checkpoint

from lightning_compress import compress
from lightning_compress.errors import ChartError, ChecksumError, ForeignFileError, FormatError
from lightning_compress.report import collect, write_report
from lightning_compress.report.contents import count_elements
from lightning_compress.weights import Weights


def flip(path, share=1.0):
    """Flip a bit at this share of the way through a file."""
    data = bytearray(path.read_bytes())
    data[int(share * (len(data) - 1))] ^= 1
    path.write_bytes(data)


def test_a_run_is_found_whole(run):
    found = collect(run)
    assert [file.path.name for file in found.files] == ["best.safetensors", "half.safetensors"]
    assert [path.name for path in found.files[0].copies] == ["last.safetensors"]
    assert found.left_out == ()
    assert (len(found.trainings), len(found.sensitivities), len(found.translations)) == (1, 1, 1)


@pytest.mark.parametrize("name", ["best", "last", "half"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_damaged_file_is_named_and_the_others_go_on(copy, name, share):
    damaged = copy / f"checkpoints/{name}.safetensors"
    flip(damaged, share)
    found = collect(copy)
    assert [each.path for each in found.left_out] == [damaged]
    assert str(damaged) in found.left_out[0].reason
    assert damaged not in [path for file in found.files for path in (file.path, *file.copies)]
    assert len(found.files) == (1 if name == "half" else 2)


def test_a_damaged_attached_file_is_found(copy):
    path = copy / "checkpoints/with.safetensors"
    archive = compress(Weights((), assets={"vocabulary.txt": b"a b c d e f" * 20}), "half")
    archive.save(path)
    flip(path)
    assert "asset 'vocabulary.txt'" in collect(copy).left_out[0].reason


BAD = {
    "no JSON": ("sensitivity.json", "{", "is not JSON"),
    "another object": ("sensitivity.json", "{}", "classes is NoneType None, expected a list"),
    "a list": ("translations.json", "[]", "holds a JSON list, expected an object"),
    "no samples": ("translations.json", '{"samples": 3}', "samples is int 3, expected a list"),
    "odd sample": ("translations.json", '{"samples": [{"source": 1}]}', "source is int 1, expected text"),
    "a word": ("translations.json", '{"samples": [], "step": "x"}', "step is str 'x', expected a number"),
    "ragged": (
        "sensitivity.json",
        '{"classes": ["a"], "strengths": [{"label": "x"}], "scores": [[1, 2]]}',
        "scores[0] has 2 items, expected 1",
    ),
    "no step": ("metrics.csv", "a,b\n1,2\n", "has no column 'step'"),
    "no text": ("metrics.csv", b"\xff\xfe\x00", "is not a metrics file"),
    "foreign": ("x.safetensors", "hello", "does not begin like a file of this package"),
}


@pytest.mark.parametrize(("name", "content", "why"), BAD.values(), ids=BAD)
def test_other_files_that_cannot_be_taken_are_named(copy, name, content, why):
    path = copy / "checkpoints" / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = collect(copy)
    assert len(found.files) == 2
    [left_out] = found.left_out
    assert left_out.path == path
    assert str(path) in left_out.reason
    assert why in left_out.reason


def test_the_exact_checkpoint_is_found_under_another_name(copy):
    (copy / "older").mkdir()
    (copy / "checkpoints/best.ckpt").rename(copy / "older/renamed.ckpt")
    checkpoint(copy / "checkpoints/best.ckpt", seed=1)
    found = collect(copy)
    assert [file.exact.note for file in found.files] == ["Exact weights: renamed.ckpt."] * 2
    assert found.files[0].exact.checkpoint == copy / "older/renamed.ckpt"
    assert found.files[0].errors


def test_checkpoints_under_other_names_are_read_once_and_not_once_for_each_file(tmp_path, monkeypatch):
    """And once more for each file that is made from one of them."""
    (tmp_path / "exact").mkdir()
    count = 5
    for seed in range(count):
        exact = checkpoint(tmp_path / "exact" / f"run-{9 - seed}.ckpt", seed=seed)
        compress(Weights.from_checkpoint(exact), "half").save(tmp_path / f"{seed}.safetensors")
    checkpoint(tmp_path / "exact" / "foreign.ckpt", prefix="decoder")
    reads: list[str] = []
    original = Weights.from_checkpoint
    monkeypatch.setattr(Weights, "from_checkpoint", lambda path: reads.append(path.name) or original(path))
    found = collect(tmp_path)
    notes = [file.exact.note for file in found.files]
    assert notes == [f"Exact weights: run-{9 - seed}.ckpt." for seed in range(count)]
    assert all(file.errors for file in found.files)
    assert len(reads) <= count + 1 + count


def test_the_checkpoint_of_older_and_newer_files_is_found_by_either_fingerprint(tmp_path):
    weights = Weights.from_checkpoint(checkpoint(tmp_path / "a.ckpt"))
    archive = compress(weights, "half")
    archive.save(tmp_path / "new.safetensors")
    replace(archive, manifest=replace(archive.manifest, fingerprint=weights.fingerprint_like(""))).save(
        tmp_path / "old.safetensors"
    )
    assert [file.exact.note for file in collect(tmp_path).files] == ["Exact weights: a.ckpt."] * 2


def test_a_file_without_its_checkpoint_names_the_likeliest_one(tmp_path):
    compress(Weights.from_checkpoint(checkpoint(tmp_path / "a.ckpt")), "half").save(tmp_path / "a.safetensors")
    compress(Weights.from_checkpoint(checkpoint(tmp_path / "b.ckpt", seed=1)), "half").save(tmp_path / "b.safetensors")
    checkpoint(tmp_path / "a.ckpt", seed=2)
    checkpoint(tmp_path / "b.ckpt", seed=3)
    notes = [file.exact.note for file in collect(tmp_path).files]
    assert notes == [f"{name}.ckpt holds other weights than those the file was made from." for name in "ab"]


def test_a_run_without_compressed_files_has_its_measurements(copy):
    for path in copy.rglob("*.safetensors"):
        path.unlink()
    found = collect(copy)
    assert found.files == ()
    assert (len(found.trainings), len(found.sensitivities), len(found.translations)) == (1, 1, 1)


def test_links_to_a_file_count_as_copies(copy):
    (copy / "link.safetensors").symlink_to("checkpoints/half.safetensors")
    (copy / "dangling.safetensors").symlink_to("nowhere")
    found = collect(copy)
    assert [path.name for path in found.files[1].copies] == ["link.safetensors"]
    assert "No such file" in found.left_out[0].reason


def test_a_single_damaged_file_is_an_error(copy, tmp_path):
    damaged = copy / "checkpoints/half.safetensors"
    flip(damaged)
    with pytest.raises(ChecksumError):
        write_report(damaged, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_nothing_to_report(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no compressed file in"):
        collect(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        collect(tmp_path / "nowhere")
    (tmp_path / "empty" / "a.safetensors").write_text("hello")
    with pytest.raises(FormatError, match=r"nothing in .* can be read\. .*does not begin like"):
        collect(tmp_path / "empty")
    with pytest.raises(ForeignFileError):
        collect(tmp_path / "empty" / "a.safetensors")


@pytest.fixture
def small(tmp_path):
    """A file that is quickly reported."""
    compress({"count": torch.tensor(3)}, "half").save(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def test_a_report_is_replaced_and_nothing_else_is(small, tmp_path):
    out = tmp_path / "page.html"
    write_report(small, out)
    first = out.read_bytes()
    compress({"counts": torch.tensor([3, 4])}, "half").save(small)
    write_report(small, out)
    assert out.read_bytes() != first
    out.write_text("<!doctype html> my own page")
    decoded: list[object] = []
    with pytest.raises(ForeignFileError, match="is not replaced"):
        write_report(small, out, on_tensor=decoded.append)
    assert decoded == []
    assert out.read_text() == "<!doctype html> my own page"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "small.safetensors"]


def test_an_output_that_cannot_be_written(small, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: create it"):
        write_report(small, tmp_path / "no" / "page.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ForeignFileError, match="exists and is not a file of this package"):
        write_report(small, tmp_path / "folder.html")


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_what_is_missing_is_said_before_the_work(run, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "matplotlib.style" if module == "matplotlib" else "jinja2", None)
    decoded = []
    with pytest.raises(ChartError, match=r"pip install lightning-compress\[charts\]"):
        write_report(run, tmp_path / "page.html", on_tensor=decoded.append)
    assert decoded == []


def test_progress_counts_every_weight_once(run):
    counted = []
    collect(run, on_tensor=lambda entry: counted.append(entry.elements))
    assert sum(counted) == count_elements(run)
    assert count_elements(run) == 3 * count_elements(run / "checkpoints/half.safetensors") > 0


def test_count_elements_what_cannot_be_read(tmp_path):
    assert count_elements(tmp_path / "nowhere") == 0
