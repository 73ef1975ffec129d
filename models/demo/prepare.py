"""Makes what the demo model is trained from: its text, its vocabulary, its config.

Usage: python models/demo/prepare.py TEXT_FOLDER OUT_FOLDER

TEXT_FOLDER holds `gpt2-samples/*.txt` (what GPT-2 1558M wrote, as OpenAI published it) and
`synthetic-persona-chat/*.csv` (dialogues that a machine wrote). The human-written prompts of the
conditional samples are dropped, so the model learns from no person's text.
"""

import csv
import json
import re
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
N_VOCAB = 8192
HEADING = re.compile(r"^=+ (SAMPLE|COMPLETION) \d+ =+\n", re.MULTILINE)
FIRST_BREAK = re.compile(r"\n|[.!?][\"'”’)]* ")


def sample_documents(path: Path) -> list[str]:
    """Return what the model wrote in one of OpenAI's sample files, document by document."""
    _, *parts = HEADING.split(path.read_text(encoding="utf-8"))
    wanted = "COMPLETION" if path.name.startswith("conditional") else "SAMPLE"
    documents = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        if kind == wanted:
            first, *rest = text.split(END_OF_TEXT)
            # A completion begins inside somebody's sentence; a document should not.
            if wanted == "COMPLETION" and (found := FIRST_BREAK.search(first)):
                first = first[found.end() :]
            documents += [first, *rest]
    return documents


def dialogue_documents(path: Path) -> list[str]:
    """Return the dialogues without those that still hold `[placeholders]`."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row["Best Generated Conversation"] for row in csv.DictReader(file)]
    return [row for row in rows if "[" not in row]


def train_vocabulary(documents: list[str], folder: Path) -> None:
    """Train a byte-level BPE and write it in GPT-2's file format, ids in order of the merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.model.save(str(folder))
    path = folder / "vocab.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    table[END_OF_TEXT] = len(table)
    path.write_text(json.dumps(table, ensure_ascii=False) + "\n", encoding="utf-8")


def main(text_folder: Path, out: Path) -> None:
    """Write `corpus.txt`, `vocab.json`, `merges.txt` and `config.json`."""
    out.mkdir(parents=True, exist_ok=True)
    documents = []
    for path in sorted((text_folder / "gpt2-samples").glob("*.txt")):
        documents += sample_documents(path)
    for path in sorted((text_folder / "synthetic-persona-chat").glob("*.csv")):
        documents += dialogue_documents(path)
    documents = [text.strip() for text in documents if len(text.strip()) >= 40]
    (out / "corpus.txt").write_text(END_OF_TEXT.join(documents), encoding="utf-8")
    train_vocabulary(documents, out)
    config = {"n_layer": 6, "n_head": 4, "n_embd": 256, "n_ctx": 1024, "n_vocab": N_VOCAB}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    num_bytes = sum(len(text.encode()) for text in documents)
    sys.stdout.write(f"{len(documents)} documents, {num_bytes} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
