"""What the bot drags in: no model, no tokenizer, nothing that its image must not hold."""

import subprocess
import sys

HEAVY = ("torch", "regex", "engine", "codec", "numpy", "safetensors", "sandbox", "tests")


def test_the_client_loads_no_model_no_tokenizer_and_no_sandbox() -> None:
    check = f"import sys, bot.client, bot.__main__; print({HEAVY!r} & sys.modules.keys())"
    check = check.replace(repr(HEAVY), repr(set(HEAVY)))
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
