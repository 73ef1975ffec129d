"""What a person reads who asks how a text was made. Pure; knows neither Discord nor the queue."""

from wire.details import Details
from wire.jobs import FinishReason, Usage
from wire.provenance import Mark, Provenance

DETAILS_BUTTON = "Details"
UNREADABLE = "⚠️ This button was made by another version of the bot, and cannot be read any more."
WHOLE_NAME = "(with the whole name of the model, which has no room here)"

_ENDINGS = {
    FinishReason.STOP: "the model ended it",
    FinishReason.LENGTH: "the length was reached",
    FinishReason.CANCELLED: "it was stopped",
}


def details_words(details: Details) -> str:
    """Tell how a text was made, and how to make it again; fits one message.

    It is inert: names and versions cannot hold what would end the code that they stand in.
    """
    made, usage = details.provenance, details.usage
    return "\n".join(
        [
            f"**Model** GPT-2 `{details.model}`, weights `{made.weights}`",
            f"**Run by** Ovid `{made.version}` on {made.device}, {made.precision}",
            f"**Options** {_options(details)}",
            f"**Tokens** {usage.prompt_tokens} in the prompt, {usage.completion_tokens} written; "
            f"{_ENDINGS[details.finish_reason]}",
            f"**Times** {_times(usage)}",
            f"**Watermark** {_mark(made)}",
            "",
            "To make the text again, give the same prompt to",
            f"`{slash_command(details)}`",
            *([WHOLE_NAME] if details.is_model_cut else []),
            "or, where the model is, this to `python -m engine sample --details - --prompt …`",
            f"```json\n{details.model_dump_json()}\n```",
        ]
    )


def slash_command(details: Details) -> str:
    """Say what to type for the same text; the prompt is the person's to repeat."""
    params = details.params
    return (
        f"/generate prompt:… length:{details.max_tokens} temperature:{params.temperature:g} "
        f"top_k:{params.top_k} top_p:{params.top_p:g} seed:{details.seed} model:{details.model}"
    )


def _options(details: Details) -> str:
    params = details.params
    said = (
        f"seed {details.seed}, length {params.max_tokens}, temperature {params.temperature:g}, "
        f"top\\_k {params.top_k}, top\\_p {params.top_p:g}"
    )
    # No option of `/generate`, so it is seldom worth a word.
    penalty = params.repetition_penalty
    return said if penalty == 1 else f"{said}, repetition penalty {penalty:g}"


def _times(usage: Usage) -> str:
    first_ms = usage.first_token_ms
    first = "" if first_ms is None else f", first token {first_ms} ms later"
    return f"{usage.queue_ms} ms in line{first}, {usage.total_ms} ms in all"


def _mark(made: Provenance) -> str:
    match made.mark:
        case Mark.MARKED:
            return f"marked with the key `{made.key}`"
        case Mark.OFF:
            return "not marked: it was switched off (OVID\\_WATERMARK=off)"
        case Mark.GREEDY:
            return "not marked: temperature 0 always takes the likeliest, and leaves no room for it"
