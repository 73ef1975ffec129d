"""Owns undoing the tokenisation in which the data sets come. Knows no files and no model.

The paper scores texts in which such traces are removed by "invertible de-tokenizers" (Radford et
al. 2019, section 3.1), without saying which. These take away spaces and marks that a tokeniser put
in, and change nothing else but what each says. No two lines of a test set may become the same, so
that the probability of the text that is returned is that of the text that was given.

Rules of this kind can be found in EleutherAI/lm-evaluation-harness and NVIDIA/Megatron-LM.
"""

CLOSING = frozenset(",.;:!?)]}%”")
OPENING = frozenset("([{$£¥₱#“")
SUFFIXES = frozenset({"'s", "'m", "'re", "'ve", "'d", "'ll", "'t", "n't"})
JOINTS = {"@-@": "-", "@,@": ",", "@.@": "."}
"""WikiText's marks for what stands inside a word or a number."""
QUOTES = {
    '"': ('"', "either"),
    "'": ("'", "either"),
    "``": ('"', "opens"),
    "''": ('"', "closes"),
    "`": ("'", "opens"),
}
"""What each becomes, and whether it opens or closes a quotation; either: what is needed next."""
CBT_MARKS = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LSB-": "[",
    "-RSB-": "]",
    "-LCB-": "{",
    "-RCB-": "}",
}


def wikitext_line(line: str) -> str:
    r"""Undo WikiText's tokenisation in one line.

    `<unk>`, in the `.tokens` files only, stays: no other sign could stand for it and be undone.
    So do lone dashes and slashes, whose spaces may have been the author's.

    >>> wikitext_line(" He had a guest @-@ starring role , in 1 @,@ 500 houses . ")
    'He had a guest-starring role, in 1,500 houses.'
    >>> wikitext_line(' a role as " Craig " in " Teddy \'s Story " ( 2004 ) ')
    'a role as "Craig" in "Teddy\'s Story" (2004)'
    >>> wikitext_line(" the fans ' favourite , said to be ' the best ' ")
    "the fans' favourite, said to be 'the best'"
    >>> wikitext_line(" = = Career = = ")
    '== Career =='
    """
    words = [word for word in line.split(" ") if word]
    level = _heading_level(words)
    if level:
        bar = "=" * level
        return f"{bar} {_join(words[level:-level])} {bar}"
    return _join(words)


def ptb_line(line: str) -> str:
    """Undo the Penn Treebank's tokenisation, as Mikolov distributes it, in one line.

    A number (`N`) becomes 1 and an unknown word (`<unk>`) a question mark: neither stands alone in
    that text, so this can be undone. A dollar sign meets its number, and slashes and asterisks
    lose their backslash.

    >>> ptb_line(" no it was n't black monday ")
    "no it wasn't black monday"
    >>> ptb_line(" <unk> 's shares fell $ N to $ N in the analysts ' <unk> ")
    "?'s shares fell $1 to $1 in the analysts' ?"
    """
    words = ["1" if word == "N" else word for word in line.split(" ") if word]
    text = _join([word.replace("\\/", "/").replace("\\*", "*") for word in words])
    # Only now: a question mark would cling to the word before it.
    return text.replace("<unk>", "?")


def cbt_line(line: str) -> str:
    r"""Undo the Children's Book Test's tokenisation in one sentence.

    >>> cbt_line("`` Do n't you see , '' said the cat -LRB- XXXXX 's cat -RRB- , `` it is I ? ''")
    '"Don\'t you see," said the cat (XXXXX\'s cat), "it is I?"'
    """
    return _join([CBT_MARKS.get(word, word) for word in line.split(" ") if word])


def _heading_level(words: list[str]) -> int:
    """Return how many signs of equality enclose a line, 0 for a line that is no heading."""
    level = 0
    while 2 * level + 2 < len(words) and words[level] == words[-level - 1] == "=":
        level += 1
    return level


def _join(words: list[str]) -> str:
    """Put words together, with a space between two of them unless one clings to the other."""
    text = ""
    clings = True  # to what comes next; also, nothing precedes the first word
    inside = {'"': False, "'": False}
    for word in words:
        shown, left, right = word, word in CLOSING or word in SUFFIXES, word in OPENING
        if word in JOINTS:
            shown, left, right = JOINTS[word], True, True
        elif word in QUOTES:
            shown, kind = QUOTES[word]
            # An apostrophe behind an s, where no quotation is open, is a plural's genitive.
            genitive = word == "'" and not inside[shown] and text.endswith("s")
            right = kind == "opens" or (kind == "either" and not inside[shown] and not genitive)
            left = not right
            inside[shown] = right
        text += shown if left or clings else f" {shown}"
        clings = right
    return text
