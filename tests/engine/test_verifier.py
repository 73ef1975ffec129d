"""What verifying takes while an engine serves: keys, vocabularies as they come and go, no hurry."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from engine.errors import InvalidRequestError, ModelError, NoKeyError
from engine.verifier import Verifier, Vocabularies
from engine.verify import verify
from tests.end_to_end.stack import REPOSITORY
from tests.engine.marked import KEY, OLD, marked_letters
from tests.engine.support import write_vocabulary
from wire.verdicts import Verdict

DEADLINE_S = 60
A_WHILE_S = 0.2
"""Long enough for who does not wait to be seen."""
DEMO = REPOSITORY / "models" / "demo"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bytes").mkdir()
    write_vocabulary(tmp_path / "bytes")
    return tmp_path / "bytes"


async def test_any_of_the_keys_may_have_marked_a_text(folder: Path):
    both = Verifier(lambda: [folder], (OLD, KEY))
    for key in (KEY, OLD):
        found = await both.verify(marked_letters(key))
        assert (found.verdict, found.key) == (Verdict.OURS, key.fingerprint)
    alone = Verifier(lambda: [folder], (OLD,))
    assert (await alone.verify(marked_letters(KEY))).verdict is Verdict.NO_SIGN


async def test_without_a_key_nothing_is_said_of_any_text(folder: Path):
    with pytest.raises(NoKeyError, match=r"no watermark key, so it cannot tell what it wrote\.$"):
        await Verifier(lambda: [folder]).verify(marked_letters())


async def test_a_lone_surrogate_is_told_as_what_it_is(folder: Path):
    with pytest.raises(InvalidRequestError, match=r"character 1 .* lone surrogate"):
        await Verifier(lambda: [folder], (KEY,)).verify("a\ud800")


async def test_a_model_that_comes_later_is_looked_at_too(folder: Path):
    folders = [DEMO]
    ours = Verifier(lambda: folders, (KEY,))
    assert (await ours.verify(marked_letters())).verdict is not Verdict.OURS
    folders.append(folder)
    assert (await ours.verify(marked_letters())).verdict is Verdict.OURS


def test_each_vocabulary_is_read_once_however_many_models_share_it(folder: Path, tmp_path: Path):
    (tmp_path / "twin").mkdir()
    write_vocabulary(tmp_path / "twin")
    known = Vocabularies()
    [tokenizer] = known.of([folder, tmp_path / "twin"])
    assert known.of([tmp_path / "twin"]) == [tokenizer]
    # Trained anew, it stands in new files; what is in them is what counts.
    write_vocabulary(tmp_path / "twin")
    assert known.of([tmp_path / "twin"]) == [tokenizer]
    assert len(known.of([tmp_path / "twin", DEMO])) == 2
    [again] = known.of([DEMO])
    assert again.n_vocab == 8192


def test_a_damaged_model_is_named_and_keeps_no_other_from_being_looked_at(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "vocab.json").write_text("{", encoding="utf-8")
    (tmp_path / "damaged" / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    caplog.set_level(logging.WARNING)
    assert len(Vocabularies().of([tmp_path / "damaged", tmp_path / "gone", folder])) == 1
    assert f"{tmp_path / 'damaged'} wrote cannot be verified" in caplog.text
    assert f"{tmp_path / 'gone'} wrote cannot be verified" in caplog.text
    with pytest.raises(ModelError, match="no model here"):
        Vocabularies().of([tmp_path / "damaged"])


async def test_texts_are_looked_at_one_at_a_time_and_off_the_event_loop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    entered, let_go = threading.Semaphore(0), threading.Event()
    threads = set()

    def held_up(*args: object) -> object:
        threads.add(threading.get_ident())
        entered.release()
        assert let_go.wait(DEADLINE_S), "it was never let go"
        return verify(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("engine.verifier.verify", held_up)
    ours = Verifier(lambda: [folder], (KEY,))
    asked = [asyncio.create_task(ours.verify(marked_letters())) for _ in range(3)]
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.to_thread(entered.acquire, timeout=DEADLINE_S)
        # The loop is free, so that all three had the time to begin; but only one did.
        assert not await asyncio.to_thread(entered.acquire, timeout=A_WHILE_S)
        let_go.set()
        found = await asyncio.gather(*asked)
    assert {each.verdict for each in found} == {Verdict.OURS}
    assert threading.get_ident() not in threads


async def test_a_text_that_nobody_waits_for_any_more_makes_no_room_for_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    entered, let_go = threading.Event(), threading.Event()
    threads, texts = [], []

    def held_up(text: str, *args: object) -> object:
        threads.append(threading.get_ident())
        texts.append(text)
        entered.set()
        assert let_go.wait(DEADLINE_S), "it was never let go"
        return verify(text, *args)  # type: ignore[arg-type]

    monkeypatch.setattr("engine.verifier.verify", held_up)
    ours = Verifier(lambda: [folder], (KEY,))
    asked = [asyncio.create_task(ours.verify(text)) for text in ("left", "left in line")]
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.to_thread(entered.wait, DEADLINE_S)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        last = asyncio.create_task(ours.verify("Hi."))
        for _ in range(50):
            await asyncio.sleep(0)
        let_go.set()
        assert (await last).verdict is Verdict.TOO_SHORT
    assert texts == ["left", "Hi."]
    assert len(set(threads)) == 1
