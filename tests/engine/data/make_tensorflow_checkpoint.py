"""Makes the checkpoints beside it, with TensorFlow itself: one as OpenAI's, one in three files.

Run by hand where TensorFlow is installed; 2.21 made what is here. The tests only read it.

    python tests/engine/data/make_tensorflow_checkpoint.py
"""

import importlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
HPARAMS = {"n_vocab": 96, "n_ctx": 32, "n_embd": 16, "n_head": 2, "n_layer": 2}


def shapes() -> dict[str, tuple[int, ...]]:
    """Return what openai/gpt-2:src/model.py names its variables, and their shapes."""
    width = HPARAMS["n_embd"]
    named: dict[str, tuple[int, ...]] = {
        "model/wpe": (HPARAMS["n_ctx"], width),
        "model/wte": (HPARAMS["n_vocab"], width),
    }
    norms = ["model/ln_f"]
    for layer in range(HPARAMS["n_layer"]):
        block = f"model/h{layer}"
        norms += [f"{block}/ln_1", f"{block}/ln_2"]
        for linear, n_in, n_out in (
            ("attn/c_attn", width, 3 * width),
            ("attn/c_proj", width, width),
            ("mlp/c_fc", width, 4 * width),
            ("mlp/c_proj", 4 * width, width),
        ):
            named |= {f"{block}/{linear}/w": (1, n_in, n_out), f"{block}/{linear}/b": (n_out,)}
    for norm in norms:
        named |= {f"{norm}/g": (width,), f"{norm}/b": (width,)}
    return named


def values() -> dict[str, NDArray[np.float32]]:
    """Return the variables: numbers without pattern that float16 holds exactly."""
    made = {}
    for place, (name, shape) in enumerate(shapes().items()):
        counted = np.arange(np.prod(shape)).reshape(shape)
        scattered = (counted * 7919 + 104729 * place) % 2039 % 257 - 128
        made[name] = (scattered / 256).astype(np.float32)
    return made


def main() -> None:
    """Write both folders anew."""
    # By name, and only here: the tests take `values` from this module, and have no TensorFlow.
    tf = importlib.import_module("tensorflow")
    variables = values()
    folder = HERE / "openai"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in variables.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(save_relative_paths=True)
        saver.save(session, str(folder / "model.ckpt"), write_meta_graph=False)

    in_three = HERE / "openai_in_three_files"
    parts = []
    for part in range(3):
        names = sorted(variables)[part::3]
        parts.append(str(in_three / f"part{part}"))
        tf.raw_ops.SaveV2(
            prefix=parts[-1],
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[variables[name].astype(np.float16) for name in names],
        )
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts,
        destination_prefix=str(in_three / "model-1000"),
        delete_old_dirs=False,
    )
    for made in (folder, in_three):
        (made / "hparams.json").write_text(json.dumps(HPARAMS, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
