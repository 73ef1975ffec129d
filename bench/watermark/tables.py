"""Owns how the results are printed: Markdown tables, as docs/watermark.md has them."""

from collections.abc import Iterable, Iterator, Sequence

from bench.watermark.attacks import ATTACKS, INTACT
from bench.watermark.detection import COMPARED, Case
from bench.watermark.plan import DAMAGED_LENGTHS, LENGTHS, TARGET_LENGTH
from bench.watermark.results import CONTEXT_CASES, COOL_CASES, SUBKEY_CASES, UNMARKED, Results


def tables(results: Results) -> str:
    """Return everything that people read."""
    parts = (
        _lengths(results),
        _damages(results),
        _peers(results),
        _temperatures(results),
        _false_positives(results),
        _quality(results),
        _contexts(results),
        _subkeys(results),
        _cost(results),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def _lengths(results: Results) -> Iterator[str]:
    def rows() -> Iterator[Sequence[object]]:
        for length in LENGTHS:
            random = results.random
            theirs = (random.cases[INTACT, length], random.ids[length]) if random else ("–", "–")
            yield length, results.cases[INTACT, length], *theirs

    head = ("tokens", "demo model", "124M shape", "124M shape, tokens as drawn")
    return _table(head, rows())


def _damages(results: Results) -> Iterator[str]:
    random = results.random
    rows = (
        (
            attack,
            *(results.cases[attack, length] for length in DAMAGED_LENGTHS),
            random.cases[attack, TARGET_LENGTH] if random else "–",
        )
        for attack in ATTACKS
    )
    lengths = (f"{length} tokens" for length in DAMAGED_LENGTHS)
    return _table(("what was done", *lengths, f"124M shape, {TARGET_LENGTH} tokens"), rows)


def _peers(results: Results) -> Iterator[str]:
    names = list(results.compared)
    head = ("text", *(f"{name}, p < 1e-6" for name in names), *(f"{name}, 1 %" for name in names))
    compared = results.compared
    rows = (
        (
            _named(case),
            *(compared[name][case].surely for name in names),
            *(compared[name][case].easily for name in names),
        )
        for case in COMPARED
    )
    yield from _table(head, rows)
    for name in names:
        hits = sum(compared[name][INTACT, length].human_surely.hits for length in LENGTHS)
        count = sum(compared[name][INTACT, length].human_surely.count for length in LENGTHS)
        yield f"{name}: {hits} of {count} human windows at p < 1e-6"


def _temperatures(results: Results) -> Iterator[str]:
    counts = list(next(iter(results.temperatures.values())).found)
    columns = [(case, count) for case in COOL_CASES for count in counts]
    head = ("temperature", "entropy, nats a token")
    rows = (
        (f"{value:g}", each.entropy, *(each.found[count][case] for case, count in columns))
        for value, each in results.temperatures.items()
    )
    return _table((*head, *(f"{case[0]}, h = {count}" for case, count in columns)), rows)


def _false_positives(results: Results) -> Iterator[str]:
    measured = results.false_positives
    trials = len(measured.told)
    yield f"{measured.windows} windows, {trials} trials"
    rows = (
        (f"{bound:g}", f"{bound * trials:.4g}", share.hits, measured.exact_shares[bound].hits)
        for bound, share in measured.shares.items()
    )
    yield from _table(("p below", "expected at most", "as told", "one subkey, exact"), rows)
    yield f"Kolmogorov–Smirnov: D = {measured.ks_statistic:.5f}, p = {measured.ks_p_value:.3f}"


def _quality(results: Results) -> Iterator[str]:
    names = [name for name in results.quality if name != UNMARKED]
    head = ("measure", UNMARKED, *(f"{name}: difference" for name in names))
    random = results.random
    rows = (
        (
            measure,
            mean,
            *(results.quality[name].differences[measure] for name in names),
            random.quality.differences[measure] if random else "–",
        )
        for measure, mean in results.quality[UNMARKED].means.items()
    )
    return _table((*head, "Ovid, 124M shape: difference"), rows)


def _contexts(results: Results) -> Iterator[str]:
    counts = list(results.contexts)
    head = ("", *(f"h = {count}" for count in counts))
    rows: list[Sequence[object]] = [
        (_named(case), *(results.contexts[count].found[case] for count in counts))
        for case in CONTEXT_CASES
    ]
    rows.append(("draws left unmarked", *(results.contexts[count].skipped for count in counts)))
    rows += [
        (
            f"{measure}: difference",
            *(results.contexts[count].quality.differences[measure] for count in counts),
        )
        for measure in results.quality[UNMARKED].means
    ]
    return _table(head, rows)


def _subkeys(results: Results) -> Iterator[str]:
    rows = (
        (count, *(found[case] for case in SUBKEY_CASES)) for count, found in results.subkeys.items()
    )
    return _table(("subkeys", *(_named(case) for case in SUBKEY_CASES)), rows)


def _cost(results: Results) -> Iterator[str]:
    cost = results.cost
    for rows, (marked, unmarked) in cost.step_us.items():
        yield f"step at {rows} rows: {marked:.0f} µs a token marked, {unmarked:.0f} unmarked"
    yield f"the mark's own work: {cost.draw_us:.1f} µs a token"
    head = ("tokens", "look, ms", "verify, ms")
    lengths = (
        (each, f"{cost.look_ms[each]:.2f}", f"{cost.verify_ms[each]:.2f}") for each in LENGTHS
    )
    yield from _table(head, lengths)


def _named(case: Case) -> str:
    return f"{case[1]} tokens, {case[0]}"
