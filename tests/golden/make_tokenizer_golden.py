"""Make tokenizer.json: ids that llama.cpp gives for strange texts, for every pre-tokenizer that glmq knows.

The vocabulary is trained on the texts without any pre-tokenization, so that its merges cross the places
where the pre-tokenizers cut, and a wrong cut shows. Needs llama-cpp-python.

python tests/golden/make_tokenizer_golden.py
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent / "kernels")]

from glmq.tokenizer.byte_pairs import byte_characters
from glmq.tokenizer.pre_tokenizers import PRE_TOKENIZERS
from tests.glmq.vocabulary_files import write_byte_pairs

SPECIAL = ("<|user|>", "<|user", "user|><think>", "<think>")
ALPHABETS = (
    "aAbB'sSdDtTlLrReEvVmM zZ",
    "0123456789 .,x",
    " \t\n\r\u00a0\u2003\u3000a.",
    '!?#$%&()*+-/<=>@[]^_`{|}~\\" a1',
    "äÉßñøœ aŁı",
    "你好，世界。の・カ 한국어 a1",
    "при Вет שלום مرحبا ١٢٣ हिन्दी ไทย",
    "😀👩‍👩‍👧 ½²Ⅷ ①e\u0301 a",
)


def texts() -> list[str]:
    rng = random.Random(7)
    found = [
        "Hello, world! It's 2024: I'LL pay $1234.50, won't you?\n\n\tYes.  ",
        "   leading, trailing   \n \n  x",
        "<|user|>hi<|user<think>x</think>user|><think> <|user|>",
    ]
    for alphabet in ALPHABETS:
        found += ["".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 60))) for _ in range(6)]
    mixed = "".join(ALPHABETS)
    found += ["".join(rng.choice(mixed) for _ in range(50)) for _ in range(20)]
    return found


def train(samples: list[str]) -> tuple[list[str], list[str]]:
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = BpeTrainer(vocab_size=900, initial_alphabet=byte_characters(), show_progress=False)
    tokenizer.train_from_iterator(samples * 2, trainer)
    content = json.loads(tokenizer.to_str())["model"]
    return sorted(content["vocab"], key=content["vocab"].get), [" ".join(m) for m in content["merges"]]


def main() -> None:
    import llama_cpp

    samples = texts()
    tokens, merges = train([text for text in samples if not any(name in text for name in SPECIAL)])
    ids = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in PRE_TOKENIZERS:
            path = Path(folder) / "vocabulary.gguf"
            write_byte_pairs(path, tokens, merges, name, SPECIAL)
            model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
            ids[name] = [
                [model.tokenize(text.encode(), add_bos=False, special=special) for special in (False, True)]
                for text in samples
            ]
            model.close()
    alike: dict[str, list[str]] = {}
    for name, found in ids.items():
        alike.setdefault(json.dumps(found, separators=(",", ":")), []).append(name)
    content = {
        "tokens": tokens,
        "merges": merges,
        "special": SPECIAL,
        "texts": samples,
        "ids": [{"names": names, "ids": json.loads(found)} for found, names in alike.items()],
    }
    (HERE / "tokenizer.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
