"""BLEU and bytes of a trained translation recipe under each plan, every file read back.

    python benchmarks/translation.py CHECKPOINT.ckpt --data DIR --source en --target de \
        --split valid --split test2016 [--plan half …] [--output DIR]

Beside each BLEU stands the p-value of a paired bootstrap test against the fp32 weights (Koehn 2004; sacrebleu's, 1000
resamples): differences with p above 0.05 are noise. fp32 means the weights in a plain safetensors file.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from safetensors.torch import load_file, save_file

import lightning_compress as lc
from recipes.data.text_files import read_parallel
from recipes.translate import load_translator
from recipes.translation import Translation


def with_weights(module: Translation, path: Path) -> Translation:
    """The module with the tensors of a plain safetensors file in it."""
    module.load_state_dict(load_file(path))
    return module


def files(checkpoint: Path, plans: list[str], folder: Path) -> dict[str, tuple[Path, Translation]]:
    """For fp32 and each plan, the file on disk and the module read back from it."""
    plain = folder / "fp32.safetensors"
    save_file(load_translator(checkpoint).state_dict(), plain)
    result = {"fp32": (plain, with_weights(load_translator(checkpoint), plain))}
    for plan in plans:
        path = folder / f"{plan}.safetensors"
        lc.compress(load_translator(checkpoint), plan).save(path)
        result[plan] = (path, load_translator(path))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--split", action="append", required=True)
    parser.add_argument("--plan", action="append")
    parser.add_argument("--beam", type=int, action="append")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        systems = files(options.checkpoint, options.plan or ["half", "paper-transformer"], folder)
        raw = systems["fp32"][0].stat().st_size
        print("| text | beam | plan | bytes on disk | ratio | BLEU | change | p |")
        print("|---|---|---|---|---|---|---|---|")
        for split in options.split:
            source, reference = read_parallel(
                *(options.data / f"{split}.{side}" for side in (options.source, options.target))
            )
            for beam in options.beam or [1, 4]:
                outputs = [(name, module.translate(source, beam=beam)) for name, (_, module) in systems.items()]
                metric = BLEU(tokenize="none", references=[reference])
                _, scores = PairedTest(outputs, {"BLEU": metric}, None, test_type="bs", n_samples=1000)()
                for (name, _), score in zip(outputs, scores["BLEU"], strict=True):
                    size = systems[name][0].stat().st_size
                    change = "" if score.p_value is None else f"{score.score - scores['BLEU'][0].score:+.2f}"
                    same = score.p_value is not None and dict(outputs)[name] == outputs[0][1]
                    p_value = "same text" if same else "" if score.p_value is None else f"{score.p_value:.3f}"
                    print(
                        f"| {split} | {beam} | {name} | {size:,} | {raw / size:.2f}x | {score.score:.2f} | {change} | "
                        f"{p_value} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
