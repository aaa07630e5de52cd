"""Works out narrow_384.bin: the directions in which all-MiniLM-L6-v2's vectors differ most, the widest first.

Takes 1,600 vectors, of random words of the model's own vocabulary, alone and six together, and writes their right
singular vectors as 384 rows of 384 signed bytes, each row scaled by its own largest value.

pip install numpy tokenizers safetensors; python narrow_384.py FOLDER_OF_ALL_MINILM_L6_V2
"""

import json
import pathlib
import random
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "../../engine/tests/fixtures/embed"))
import reference  # noqa: E402


def main(folder):
    config = json.loads((folder / "config.json").read_text())
    weights = {name: value.astype(np.float64) for name, value in reference.load_file(folder / "model.safetensors").items()}
    tokenizer = reference.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    words = [word for word, _ in vocabulary if word.isalpha() and word.isascii() and len(word) > 3][:2400]
    choose = random.Random(1)
    texts = words[::6] + [" ".join(choose.sample(words, 6)) for _ in range(1200)]
    vectors = np.array([reference.embed(tokenizer.encode(text).ids, weights, config) for text in texts])
    rows = np.linalg.svd(vectors, full_matrices=True)[2]
    scaled = np.round(rows * 127 / np.abs(rows).max(axis=1, keepdims=True)).astype(np.int8)
    (HERE / "narrow_384.bin").write_bytes(scaled.tobytes())


main(pathlib.Path(sys.argv[1]))
