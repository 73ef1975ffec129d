"""Query, stream and fine-tune a GPT-2 that Ovid serves, with OpenAI's own Python client.

Start a server, then run this beside it:

    python -m engine serve --no-redis --http-port 8000
    pip install openai
    python docs/examples/openai_client.py --url http://127.0.0.1:8000/v1 --train notes.jsonl

Where the server has a token, put it into OPENAI_API_KEY.
"""

import argparse
import os
import time
from pathlib import Path

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob


def query(client: OpenAI, model: str, prompt: str) -> None:
    """Ask for two samples, and for how likely their tokens were."""
    completion = client.completions.create(
        model=model,
        prompt=prompt,
        max_tokens=24,
        n=2,
        seed=1,
        stop=["\n\n"],
        logprobs=2,
        # What OpenAI's API does not know goes into extra_body.
        extra_body={"top_k": 40, "repetition_penalty": 1.1},
    )
    for choice in completion.choices:
        logprobs = choice.logprobs.token_logprobs if choice.logprobs else None
        mean = sum(logprobs) / len(logprobs) if logprobs else 0.0
        print(f"{choice.index}: {choice.text!r} ({choice.finish_reason}, {mean:.2f} nats a token)")
    print(completion.usage)


def stream(client: OpenAI, model: str, prompt: str) -> None:
    """Show a reply as it is written, under the label that says what wrote it."""
    chunks = client.completions.create(model=model, prompt=prompt, max_tokens=24, stream=True)
    for number, chunk in enumerate(chunks):
        if number == 0:
            print(chunk.model_extra["label"])  # type: ignore[index]
        print(chunk.choices[0].text, end="", flush=True)
    print()


def score(client: OpenAI, model: str, text: str) -> None:
    """Ask how likely a text is, without having anything written."""
    completion = client.completions.create(
        model=model, prompt=text, echo=True, logprobs=0, max_tokens=0
    )
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    # Nothing stands before the first token, so it has no probability.
    print(f"{sum(logprobs.token_logprobs[1:]):.2f} nats for {text!r}")


def finetune(client: OpenAI, model: str, training_file: Path, epochs: int) -> str:
    """Train on a file and return the name of the new model."""
    with training_file.open("rb") as file:
        uploaded = client.files.create(file=file, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=model,
        training_file=uploaded.id,
        hyperparameters={"n_epochs": epochs},
    )
    job = wait_for(client, job)
    client.files.delete(uploaded.id)
    if job.fine_tuned_model is None:
        raise SystemExit(f"{job.id} {job.status}: {job.error.message if job.error else ''}")
    return job.fine_tuned_model


def wait_for(client: OpenAI, job: FineTuningJob) -> FineTuningJob:
    """Show what happens to a job until it has ended."""
    seen: set[str] = set()
    while True:
        # Asked for first: the events that come after it belong to it.
        job = client.fine_tuning.jobs.retrieve(job.id)
        events = client.fine_tuning.jobs.list_events(job.id, limit=100).data
        for event in reversed(events):
            if event.id not in seen:
                print(event.message)
        seen |= {event.id for event in events}
        if job.status in ("succeeded", "failed", "cancelled"):
            return job
        time.sleep(1)


def main() -> None:
    """Do all of it in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", help="left out: the server's default")
    parser.add_argument("--prompt", default="The sea was")
    parser.add_argument("--train", type=Path, help="a .jsonl, .txt or .md file to train on")
    parser.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args()
    client = OpenAI(base_url=asked.url, api_key=os.environ.get("OPENAI_API_KEY", "none"))
    model = asked.model or client.models.list().data[0].id
    query(client, model, asked.prompt)
    stream(client, model, asked.prompt)
    score(client, model, asked.prompt)
    if asked.train is not None:
        name = finetune(client, model, asked.train, asked.epochs)
        print(f"the new model is {name}")
        query(client, name, asked.prompt)


if __name__ == "__main__":
    main()
