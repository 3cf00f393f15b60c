"""Published recipes for linear maps against this package's files, at equal bytes.

Each recipe is written anew from its description, since their packages need a CUDA device or other models. All round the
same matrices, those whose inputs a translation of the validation text shows, with the same second moments of these
inputs; every other weight stays exact. The bytes of a recipe are those of an ideal adaptive coder, the bytes of this
package those of a real file.

What the recipes need beyond second moments, such as inputs of the compressed model or training, is left out of all,
this package included.

    python -m benchmarks.published --models DIR [--model rnn] [--nats 0.02]
"""
