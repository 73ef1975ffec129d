"""The safeguards, each as the edit that switches it off and the tests that must then fail.

Plain data. A new safeguard gets a line here, and a test of whole programs that needs it.
"""

from dataclasses import dataclass

FAULTS = "tests/faults/"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One safeguard switched off.

    Attributes:
        name: Of the safeguard.
        file: In which it stands, from the root of the checkout.
        old: Text that occurs there exactly once.
        new: What stands in its place while it is off.
        tests: By pytest's names; the first is the cheapest that fails, run before the others.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        name="fence",
        file="wire/scripts/common.lua",
        old="""job.state == 'running' and job.engine == engine and job.attempt == attempt""",
        new="""job.state == 'running'""",
        tests=(
            f"{FAULTS}test_engines.py::"
            "test_03_an_engine_that_wakes_after_its_lease_writes_nothing_more",
        ),
    ),
    Mutation(
        name="handing-over-again",
        file="wire/scripts/claim.lua",
        old="if not named[id] then hand(job) end",
        new="",
        tests=(
            f"{FAULTS}test_engines.py::"
            "test_08_jobs_whose_claim_lost_its_answer_are_handed_over_again",
        ),
    ),
    Mutation(
        name="suspect-isolation",
        file="wire/scripts/claim.lua",
        old="""\
if not holds_suspect and #claimed < free then
  local job = take_first(RETRY)
  if job then start(job) end
end
""",
        new="""\
while #claimed < free do
  local job = take_first(RETRY)
  if not job then break end
  start(job)
end
""",
        tests=(
            f"{FAULTS}test_engines.py::"
            "test_09_a_job_that_kills_its_engine_is_given_up_and_harms_nobody",
        ),
    ),
    Mutation(
        name="attempt-limit",
        file="wire/scripts/common.lua",
        old="elseif job.attempt >= settings.max_attempts then",
        new="elseif false then",
        tests=(
            f"{FAULTS}test_engines.py::"
            "test_09_a_job_that_kills_its_engine_is_given_up_and_harms_nobody",
        ),
    ),
    Mutation(
        name="release",
        file="engine/worker.py",
        old="await self._queue.release(self._name, job.job_id, job.claimed.attempt)",
        new="return",
        tests=(
            f"{FAULTS}test_engines.py::"
            "test_16_engines_that_are_told_to_end_hand_their_jobs_on_unharmed",
        ),
    ),
    Mutation(
        name="nonce",
        file="bot/message_surface.py",
        old="nonce=nonce(self._job_id, part),",
        new="nonce=None,",
        tests=(
            f"{FAULTS}test_messages.py::test_11_what_discord_does_without_saying_so_is_not_done_twice",
        ),
    ),
    Mutation(
        name="message-id-recovery",
        file="bot/live_reply.py",
        old="self._editor.adopt(await self._surface.find())",
        new="pass",
        tests=(
            f"{FAULTS}test_bots.py::test_12_a_bot_killed_before_it_notes_its_post_finds_it_again",
        ),
    ),
    Mutation(
        name="button-on-each-part",
        file="bot/message_surface.py",
        old="shown = stop_button(self._job_id, self._origin.asker_id)",
        new="pass",
        tests=(
            f"{FAULTS}test_bots.py::"
            "test_12_a_bot_killed_at_any_part_of_a_long_reply_finds_all_parts_again",
        ),
    ),
    Mutation(
        name="own-set-recovery",
        file="bot/follower.py",
        old="for job_id in own:",
        new="for job_id in frozenset[str]():",
        tests=(
            f"{FAULTS}test_bots.py::"
            "test_04_a_bot_killed_four_times_goes_on_in_the_messages_that_stand",
        ),
    ),
    Mutation(
        name="event-dedup-in-the-bot",
        file="bot/client.py",
        old="if is_addressed(message, self._own_id) and self._seen.add(message.id):",
        new="if is_addressed(message, self._own_id):",
        tests=(
            f"{FAULTS}test_messages.py::"
            "test_17_an_event_that_comes_six_times_and_once_more_is_answered_once",
        ),
    ),
    Mutation(
        name="event-dedup-in-the-queue",
        file="wire/scripts/submit.lua",
        old="if known[1] then",
        new="if false then",
        tests=(f"{FAULTS}test_bots.py::test_22_two_bots_of_one_name_give_one_answer",),
    ),
    Mutation(
        name="lease-freeze",
        file="wire/scripts/common.lua",
        old="if last and last <= now and now - last <= settings.freeze_gap_ms then return end",
        new="do return end",
        tests=(f"{FAULTS}test_redis.py::test_07_leases_outlast_a_redis_that_is_frozen",),
    ),
    Mutation(
        name="append-by-offset",
        file="wire/scripts/common.lua",
        old="string.sub(piece, length - offset + 1, settings.max_text_bytes - offset)",
        new="piece",
        tests=(f"{FAULTS}test_wire.py::test_08_one_answer_in_twenty_may_be_lost",),
    ),
    Mutation(
        name="reap",
        file="wire/scripts/common.lua",
        old="redis.call('ZRANGEBYSCORE', LEASE, '-inf', now, 'LIMIT', 0, batch)",
        new="{}",
        tests=(
            f"{FAULTS}test_engines.py::"
            "test_02_what_a_killed_engine_was_writing_is_written_by_the_next",
        ),
    ),
    Mutation(
        name="bound-of-the-line",
        file="wire/scripts/submit.lua",
        old="if waiting >= max_waiting then",
        new="if false then",
        tests=(
            f"{FAULTS}test_lines.py::"
            "test_19_past_both_bounds_everybody_else_is_refused_with_a_sentence",
        ),
    ),
    Mutation(
        name="bound-of-a-user",
        file="wire/scripts/submit.lua",
        old=">= max_unfinished then",
        new=">= 1e9 then",
        tests=(
            f"{FAULTS}test_lines.py::"
            "test_19_past_both_bounds_everybody_else_is_refused_with_a_sentence",
        ),
    ),
    Mutation(
        name="round-robin",
        file="wire/scripts/claim.lua",
        old="if job and waits then redis.call('RPUSH', RING, user) end",
        new="if job and waits then redis.call('LPUSH', RING, user) end",
        tests=(f"{FAULTS}test_lines.py::test_18_a_flood_is_bounded_and_holds_nobody_else_up",),
    ),
    Mutation(
        name="lost-notice",
        file="bot/live_reply.py",
        old="return view_of_forgotten(self._record, self.origin, self._note)",
        new='raise RedisError("forgotten")',
        tests=(
            f"{FAULTS}test_data_loss.py::"
            "test_27_who_is_hit_by_the_loss_of_job_hashes_is_told_and_nobody_else",
        ),
    ),
    Mutation(
        name="snapshot-reconcile",
        file="bot/live_reply.py",
        old="POLL_INTERVAL_S = 5.0",
        new="POLL_INTERVAL_S = 1e6",
        tests=(
            f"{FAULTS}test_redis.py::test_20_a_stream_deleted_while_the_bot_sleeps_is_not_missed",
        ),
    ),
    Mutation(
        name="index-repair",
        file="wire/scripts/tick.lua",
        old="\nmend_lines(jobs)\nmend_leases(jobs)\nmend_counts(jobs)\n",
        new="\n",
        tests=(f"{FAULTS}test_data_loss.py::test_26_indexes_destroyed_four_times_are_made_again",),
    ),
    Mutation(
        name="lease-repair",
        file="wire/scripts/tick.lua",
        old="\nmend_leases(jobs)\n",
        new="\n",
        tests=(
            f"{FAULTS}test_data_loss.py::"
            "test_26_programs_that_die_once_all_indexes_are_gone_are_missed_by_nobody",
        ),
    ),
    Mutation(
        name="own-set-repair",
        file="wire/scripts/tick.lua",
        old="if job.owed == '1' then add_expiring(own_key(job.bot), job.id) end",
        new="",
        tests=(
            f"{FAULTS}test_data_loss.py::"
            "test_26_programs_that_die_once_all_indexes_are_gone_are_missed_by_nobody",
        ),
    ),
    Mutation(
        name="own-set-repair-of-what-ended",
        file="wire/scripts/follow.lua",
        old="    add_expiring(own_key(bot), id)\n",
        new="",
        tests=(
            f"{FAULTS}test_data_loss.py::"
            "test_26_a_bot_that_dies_owing_last_words_shows_them_though_all_indexes_are_gone",
        ),
    ),
    Mutation(
        name="scripts-in-one-call",
        file="wire/scripting.py",
        old="""\
            return await cast("Awaitable[object]", self._redis.eval(self._source, 1, *given))
""",
        new="""\
            await self._redis.script_load(self._source)
            return await cast("Awaitable[object]", self._redis.evalsha(self._hash, 1, *given))
""",
        tests=(f"{FAULTS}test_redis.py::test_21_scripts_may_be_flushed_at_any_time",),
    ),
    Mutation(
        name="writes-when-full",
        file="wire/scripts/common.lua",
        old="redis.call('UNLINK', lane .. ':nothing')",
        new="",
        tests=(
            f"{FAULTS}test_redis.py::test_13_a_full_redis_refuses_what_is_new_and_ends_what_runs",
        ),
    ),
    Mutation(
        name="done-once",
        file="bot/follower.py",
        old="""\
        if job_id in self._done:
            await self._close(job_id)
            return
""",
        new="""\
        if job_id in self._done:
            return
""",
        tests=(
            "tests/bot/test_conversation_restarts.py::"
            "test_a_reply_is_over_though_redis_has_lost_that_it_was_shown",
            f"{FAULTS}test_data_loss.py::"
            "test_24_who_is_hit_by_the_loss_of_the_last_second_is_told_or_answered",
        ),
    ),
)
