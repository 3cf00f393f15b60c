"""The page: every section and its numbers, nothing loaded from elsewhere, nothing that files say taken as markup."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import pytest
import torch
import yaml
from report_runs import EVIL, TRANSLATIONS, Page, checkpoint

from lightning_compress import Archive, Plan, compress, load
from lightning_compress.charts.style import bytes_text
from lightning_compress.report import write_report


def report_of(path, tmp_path):
    out = tmp_path / "page.html"
    write_report(path, out)
    return Page(out)


def test_the_page_has_all_sections(page):
    assert page.sections == ["verdict", "training", "sensitivity", "translations", "files", "file", "file"]


def test_the_verdict_comes_first(page, run):
    path = run / "checkpoints/best.safetensors"
    written = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    report, exact = Archive.open(path).report(), (run / "checkpoints/best.ckpt").stat().st_size
    assert page.text.startswith(f"run, {written.day} {written:%B %Y} – compression report")
    shown = page.text[: page.text.index("Training")]
    for words in (
        "Use checkpoints/best.safetensors It is the smallest file that loses at most 1 % of the score.",
        f"smaller than the weights in fp32 ({bytes_text(report.raw_bytes)}) {report.ratio:.1f}×",
        f"smaller than best.ckpt ({bytes_text(exact)}) {exact / path.stat().st_size:.1f}×",
        "exact → file 35.25 → 35.00",
        "lost 0.25 (−0.12 to 0.62)",
    ):
        assert words in shown


def test_the_verdict_names_the_metric_and_a_loss_is_positive(tmp_path):
    search = {"score_before": -0.5, "score_after": -0.625, "drop": 0.125, "measure": "val_loss", "mode": "min"}
    frontier = {"frontier": [[1.0, 90, -0.75]]}
    compress({"a": torch.ones(8)}, "half").with_metrics({"search": search | frontier}).save(tmp_path / "a.safetensors")
    page = report_of(tmp_path, tmp_path)
    assert "val_loss, exact → file 0.50 → 0.62" in page.text
    assert "lost 0.12" in page.text
    assert "−val_loss against bytes" in page.source


def test_more_than_five_sentences_are_folded(copy, tmp_path):
    samples = [{"source": f"a dog {k}", "reference": "", "exact": "ein", "compressed": "eins"} for k in range(7)]
    (copy / "checkpoints/translations.json").write_text(json.dumps({**TRANSLATIONS, "samples": samples}))
    page = report_of(copy, tmp_path)
    before, _, after = page.text.partition("2 more sentences")
    assert [f"a dog {k}" in before for k in range(7)] == [True] * 5 + [False] * 2
    assert "a dog 5" in after


def test_nothing_comes_from_a_network_and_nothing_runs(page):
    assert not re.search(r"https?://|//[a-z]", page.source)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "img", "base", "form"}
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in page.values("href"))
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids)) > 100
    used = [v[1:] for v in page.values("href") if v.startswith("#")] + re.findall(r"url\(#([^)]+)\)", page.source)
    assert used
    assert set(used) <= set(ids)


def test_files_at_a_glance(page, run):
    best, half = Archive.open(run / "checkpoints/best.safetensors"), Archive.open(run / "checkpoints/half.safetensors")
    header, first, second = next(t for t in page.tables if t[0][0] == "file")
    assert header == ["file", "bytes", "ratio", "bits per weight", "zeros", "score before", "score after", "lost"]
    report = best.report()
    assert first == [
        "checkpoints/best.safetensors", f"{best.nbytes:,}", f"{report.ratio:.2f}×", f"{report.bits_per_weight:.2f}",
        f"{report.sparsity:.1%}", "35.25", "35.00", "0.25",
    ]  # fmt: skip
    assert second[:2] == ["checkpoints/half.safetensors", f"{half.nbytes:,}"]
    assert second[5:] == ["–", "–", "–"]


@pytest.mark.usefixtures("layout_while_drawing")
def test_a_file_no_better_than_its_candidate_is_named_in_the_frontier(tmp_path):
    found = {"search": {"score_after": 34.5, "frontier": [[1.0, 90, 34.5]]}}
    compress({"count": torch.tensor(3)}, "half").with_metrics(found).save(tmp_path / "f.safetensors")
    assert "this file" in report_of(tmp_path / "f.safetensors", tmp_path).text


def test_copies_are_shown_once(page):
    assert "The same content: checkpoints/last.safetensors" in page.text


def test_classes_before_and_after(page, run):
    path = run / "checkpoints/best.safetensors"
    table = next(t for t in page.tables if t[0][:2] == ["class", "tensors"])
    rows = {row[0]: row for row in table[1:]}
    assert list(rows) == ["encoder.0", "encoder.1", "softmax", "other", "whole file"]
    size = next(row for row in Archive.open(path).report().by_class() if row.class_name == "softmax")
    exact = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]["softmax.weight"]
    after = load(path)["softmax.weight"]
    error = ((exact - after).double().square().sum() / exact.double().square().sum()).item()
    assert rows["softmax"] == [
        "softmax", "1", "1,280", "5,120", f"{size.bytes:,}", f"{size.bytes / 5120:.1%}",
        f"{8 * size.bytes / 1280:.2f}", "0.0%", f"{(after == 0).float().mean():.1%}", f"{error:.2g}",
    ]  # fmt: skip
    assert rows["whole file"][4] == f"{path.stat().st_size:,}"
    assert "Exact weights: best.ckpt." in page.text


def test_every_tensor_with_its_aliases(page, run):
    report = Archive.open(run / "checkpoints/best.safetensors").report()
    table = next(t for t in page.tables if t[0][0] == "tensor")
    assert [row[0] for row in table[1:]] == ["= ".join((row.name, *row.aliases)) for row in report.rows]
    assert table[1][1] == "32×24 float32"
    assert [row[5] for row in table[1:]] == [f"{row.bytes:,}" for row in report.rows]
    assert next(row for row in table if row[0] == "count")[1] == "scalar int64"


def test_the_plan_can_be_used(page):
    texts = [text for text in page.texts if text.startswith("rules:")]
    assert len(texts) == 2
    plan = Plan.from_config(yaml.safe_load(texts[0]))
    assert plan == Plan.resolve("paper-transformer")


def test_charts_of_a_file(page):
    drawn = page.values("aria-label")
    assert drawn.count("Bytes of each class of weights") == 2
    assert drawn.count("Histograms of the weights of each class") == 2
    assert drawn.count("Score against bytes of the files that the search measured") == 1
    assert (
        drawn.count("val_bleu against bytes of the files of the run")
        + drawn.count("score against bytes of the files of the run")
        == 1
    )
    assert "this file" in page.text
    assert "Before and after, by class; the 0.2 %" in page.text


def test_what_the_search_measured(page):
    assert "0.25 (−0.12 to 0.62)" in page.text
    assert "search/evaluations 17" in page.text
    assert "search/interval -0.125, 0.625" in page.text
    assert "search/frontier" not in page.text
    assert "size 24" in page.text  # the hyper-parameters


def test_curves_of_the_training(page):
    assert [label for label in page.values("aria-label") if label.endswith(" against step")] == [
        "loss against step", "val_bleu against step", "bytes of the file against step",
    ]  # fmt: skip
    assert "logs/version_0/metrics.csv" in page.text


def test_sensitivity(page):
    assert "Loss of val_bleu, one class compressed" in page.values("aria-label")
    assert "Largest pruning ratio that keeps val_bleu" in page.values("aria-label")
    assert "softmax: 3.000 encoder.0: 0.500" in page.text  # ranked
    assert "normalized error 0.80" in page.text
    table = next(t for t in page.tables if t[0][:2] == ["class", "strength"])
    assert table == [
        ["class", "strength", "val_bleu", "lost", "bytes", "normalized error"],
        ["encoder.0", "prune 20 %", "34.500", "0.500", "1,000", "0.12"],
        ["encoder.0", "4 bits", "–", "–", "–", "–"],
        ["softmax", "prune 20 %", "34.000", "1.000", "2,000", "0.5"],
        ["softmax", "4 bits", "30.000", "5.000", "2,500", "0.25"],
    ]


def test_translations_with_differing_words_marked(page):
    assert re.findall(r"<mark>([^<]*)</mark>", page.source) == ["kleiner", "da"]
    assert "ein kleiner Hund" in page.text
    assert "BLEU, compressed 34.75" in page.text
    assert "lost 0.25 (−0.05 to 0.50)" in page.text
    assert "nrefs:1|tok:none" in page.text


def test_translations_without_compressed_weights_mark_nothing(tmp_path):
    samples = '[{"source": "a dog", "reference": "ein Hund", "exact": "der Hund", "compressed": ""}]'
    measured = '"bleu_exact": 30, "bleu_compressed": null, "drop": null, "samples": ' + samples
    (tmp_path / "translations.json").write_text("{" + measured + "}")
    page = report_of(tmp_path, tmp_path)
    assert "BLEU, exact 30.00" in page.text
    assert "der Hund" in page.text
    assert "compressed" not in page.text.lower().replace("compression", "")
    assert "mark" not in {tag for tag, _ in page.tags}


@pytest.mark.usefixtures("layout_while_drawing")
def test_what_files_say_is_text(copy, tmp_path):
    folder = tmp_path / "evil"
    folder.mkdir()
    exact = checkpoint(folder / "e.ckpt", prefix=EVIL)
    archive = compress(exact, "half").with_metrics({EVIL: EVIL, "search": {"score_before": EVIL, "frontier": EVIL}})
    archive.save(folder / "<b>&.safetensors")
    for name in ("sensitivity.json", "translations.json"):
        content = (copy / "checkpoints" / name).read_text()
        for word in ("encoder.0", "val_bleu", "4 bits", "normalized error", "nrefs:1", "kleiner", "a dog", "ein Hund"):
            content = content.replace(word, EVIL.replace('"', '\\"'))
        (folder / name).write_text(content)
    (folder / "metrics.csv").write_text("step,val_" + EVIL.replace('"', "") + "\n1,2\n2,3\n")
    (folder / "<i>.safetensors").write_text("no file of ours")
    page = report_of(folder, tmp_path)
    assert {"script", "b", "i"}.isdisjoint(tag for tag, _ in page.tags)
    assert "<script" not in page.source
    assert page.sections == ["verdict", "damaged", "training", "sensitivity", "translations", "file"]
    assert EVIL in page.text
    assert EVIL in " ".join(page.values("aria-label")) or page.source.count("&lt;script&gt;") > 20


def test_text_that_no_encoding_has(tmp_path):
    (tmp_path / "translations.json").write_text('{"samples": [{"source": "half a \\ud800 pair"}]}')
    assert "half a ? pair" in report_of(tmp_path, tmp_path).text


@pytest.mark.usefixtures("layout_while_drawing")
def test_a_single_file_without_its_checkpoint(run, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((run / "checkpoints/half.safetensors").read_bytes())
    page = report_of(alone, tmp_path)
    assert page.sections == ["verdict", "file"]
    assert "It is the only file; its score was not measured." in page.text
    assert "There is no checkpoint with the exact weights in the folder." in page.text
    assert "After, by class;" in page.text
    assert "zeros before" not in page.text
    assert "smaller than alone.ckpt" not in page.text


@pytest.mark.usefixtures("layout_while_drawing")
def test_a_checkpoint_of_other_weights_is_not_compared(copy, tmp_path):
    checkpoint(copy / "checkpoints/best.ckpt", seed=1)
    page = report_of(copy / "checkpoints/best.safetensors", tmp_path)
    assert "best.ckpt holds other weights than those the file was made from." in page.text
    assert "relative error" not in page.text


@pytest.mark.usefixtures("layout_while_drawing")
def test_a_checkpoint_that_cannot_be_read_is_named(copy, tmp_path):
    (copy / "checkpoints/best.ckpt").write_bytes(b"PK\x03\x04")
    page = report_of(copy / "checkpoints/best.safetensors", tmp_path)
    assert "The exact checkpoint was not taken:" in page.text


@pytest.mark.usefixtures("layout_while_drawing")
def test_odd_models_have_a_page(tmp_path):
    weights = {"empty": torch.zeros(0, 3), "nan": torch.tensor([float("nan"), 1.0]), "complex": torch.ones(2) * 1j}
    torch.save(weights, tmp_path / "odd.ckpt")
    compress(tmp_path / "odd.ckpt", "half").save(tmp_path / "odd.safetensors")
    page = report_of(tmp_path / "odd.safetensors", tmp_path)
    table = next(t for t in page.tables if t[0][0] == "tensor")
    assert [row[-1] for row in table[1:]] == ["0", "–", "0"]
    compress({}, "half").save(tmp_path / "none.safetensors")
    assert report_of(tmp_path / "none.safetensors", tmp_path).sections == ["verdict", "file"]


def test_the_same_run_gives_the_same_page(run, page, tmp_path):
    assert report_of(run, tmp_path).source == page.source
