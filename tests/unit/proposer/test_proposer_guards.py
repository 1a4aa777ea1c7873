"""What is let through, and what is not."""

from typing import Any

import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from burnish_proposer import leaks
from burnish_proposer.guards import GuardRules, Guards, RefusalReason, placeholders_of

BASELINE = "Say which intent {query} has. Answer with the label only."
ROW = "My card has not come yet, and I ordered it two weeks ago!"


def guards(**options: Any) -> Guards:
    given: dict[str, Any] = {
        "baseline": BASELINE,
        "placeholders": ("query",),
        "max_tokens": 200,
    }
    rows, known = options.pop("rows", (ROW,)), options.pop("known", ())
    return Guards(GuardRules(**(given | options)), rows=rows, known=known)


def reason(text: str, **options: Any) -> RefusalReason | None:
    refusal = guards(**options).check(text)
    return None if refusal is None else refusal.reason


def test_a_new_instruction_passes():
    assert reason("Read {query} twice, then give its label and nothing else.") is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Read it twice, then give its label.", RefusalReason.PLACEHOLDER),
        ("Read {{query}} twice, then give its label.", RefusalReason.PLACEHOLDER),
        ("Read {query} twice, then think of {answer}.", RefusalReason.PLACEHOLDER),
        ("  \n", RefusalReason.EMPTY),
        ("Read {query}. " + "word " * 200, RefusalReason.TOO_LONG),
        (BASELINE, RefusalReason.DUPLICATE),
        ("say which INTENT {query} has -- answer with the label only", RefusalReason.DUPLICATE),
        (f"For {{query}}, note: {ROW}", RefusalReason.COPIES_ROW),
        (
            "For {query}, e.g. MY CARD HAS  NOT\ncome yet, and I ordered it two weeks ago.",
            RefusalReason.COPIES_ROW,
        ),
    ],
)
def test_each_guard_refuses_its_own_fault(text, wanted):
    assert reason(text) is wanted


def test_refusals_say_what_is_wrong_without_the_text():
    refusal = guards().check(f"Secret words for {{answer}}: {ROW}")
    assert refusal is not None
    assert "`{query}`" in refusal.message
    assert "`{answer}`" in refusal.message
    assert "Secret" not in refusal.message


def test_placeholders_that_the_baseline_has_may_be_kept():
    baseline = "Answer {query} as {format}."
    text = "Read {query} twice, then answer as {format}."
    assert reason(text, baseline=baseline) is None


def test_json_in_an_instruction_is_no_placeholder():
    assert reason('For {query} answer with {"label": "..."} and no more, please do.') is None


def test_an_accepted_instruction_is_known_from_then_on():
    text = "Read {query} twice, then give its label and nothing else."
    held = guards()
    assert held.check(text) is None
    held.learn(text)
    refusal = held.check(text.upper().replace("QUERY", "query"))
    assert refusal is not None
    assert refusal.reason is RefusalReason.DUPLICATE


def test_history_counts_as_known():
    text = "Read {query} twice, then give its label and nothing else."
    assert reason(text, known=(text,)) is RefusalReason.DUPLICATE


def test_a_long_instruction_with_one_word_changed_is_a_duplicate():
    text = "{query} " + " ".join(f"word{number}" for number in range(300))
    changed = text.replace("word17 ", "other ")
    assert reason(changed, known=(text,), max_tokens=5_000) is RefusalReason.DUPLICATE


def test_a_long_instruction_with_one_rule_more_is_another():
    text = "{query} " + " ".join(f"word{number}" for number in range(3_000))
    changed = text + " Never mistake a late card for a lost one, whatever they say."
    assert reason(changed, known=(text,), max_tokens=50_000) is None


def test_rows_that_the_baseline_quotes_may_be_quoted_on():
    baseline = f"{BASELINE} For example: {ROW}"
    text = f"Read {{query}} twice. As here: {ROW} Then give its label and nothing else."
    assert reason(text, baseline=baseline) is None


def test_short_rows_and_parts_of_rows_may_be_quoted():
    text = "Read {query} twice: not come yet, ordered it two weeks ago, where is my card."
    assert reason(text, rows=(ROW, "where is my card")) is None


def test_a_list_of_phrases_is_no_row_though_its_words_are_the_same():
    text = "Read {query} twice. activate_card: how do i, activate my card, start using it."
    assert reason(text, rows=("How do I activate my card?",)) is None


def test_curly_quotes_hide_no_row():
    text = "Read {query} twice: I can\N{RIGHT SINGLE QUOTATION MARK}t find my card anywhere"
    assert reason(text, rows=("I can't find my card anywhere!",)) is RefusalReason.COPIES_ROW


def test_rows_without_spaces_between_words_are_found():
    row = "我的卡还没有到怎么办"
    text = f"Read {{query}} twice, as in {row}, then give its label."
    assert reason(text, rows=(row,)) is RefusalReason.COPIES_ROW


LONG_ROW = "The parcel that you sent me last week was open, wet and half empty when it came"


@pytest.mark.parametrize(
    "quoted",
    [
        "that you sent me last week was open, wet and half empty",
        "THAT YOU SENT ME -- last week was open; wet and half empty",
        "parcel that you sent\nme last week was open wet and",
    ],
)
def test_a_long_run_of_words_out_of_a_row_is_refused(quoted):
    assert reason(f"For {{query}} look out for {quoted}.", rows=(LONG_ROW,)) is (
        RefusalReason.LEAKS_TEXT
    )


def test_nine_words_of_a_row_in_a_row_may_be_quoted():
    text = "For {query} look out for: you sent me last week was open wet and more."
    assert reason(text, rows=(LONG_ROW,)) is None


def test_a_leak_out_of_very_much_text_is_found_when_it_is_a_little_longer(monkeypatch):
    monkeypatch.setattr(leaks, "_MOST_INDEXED_CHARS", 1_000)
    rows = [" ".join(f"w{row}x{place}" for place in range(100)) for row in range(4)]
    quoted = " ".join(f"w3x{place}" for place in range(51, 64))
    assert reason(f"For {{query}} say {quoted}.", rows=rows) is RefusalReason.LEAKS_TEXT


@pytest.mark.parametrize("place", ["baseline", "given"])
def test_runs_that_the_user_wrote_may_be_quoted(place):
    said = f"As in: {LONG_ROW[:70]} {{query}}"
    options = {"baseline": said} if place == "baseline" else {"given": (said,)}
    text = f"Look at {{query}} once more, and then again. {LONG_ROW[:70]}"
    assert reason(text, rows=(LONG_ROW,)) is RefusalReason.LEAKS_TEXT
    assert reason(text, rows=(LONG_ROW,), **options) is None


def test_a_protected_region_is_kept_word_for_word():
    regions = ("Answer with the label only.", "Never guess.")
    kept = "Read {query} twice. Answer with\n  the label only. Whatever they say: Never guess."
    assert reason(kept, protected=regions) is None
    refusal = guards(protected=regions).check(
        "Read {query} twice. Answer with just the label. Never guess."
    )
    assert refusal is not None
    assert refusal.reason is RefusalReason.PROTECTED_TEXT
    assert "region 1 of 2" in refusal.message
    assert "label" not in refusal.message


@settings(deadline=None)
@over(st.text(min_size=1).filter(lambda text: text.strip()), st.text(), st.text())
def test_a_region_is_missed_exactly_when_it_is_not_there(region, before, after):
    held = Guards(GuardRules(baseline="x", protected=(region,)))
    found = held.check(f"{before} {region} {after}")
    assert found is None or found.reason is not RefusalReason.PROTECTED_TEXT


@pytest.mark.parametrize(
    ("overlap", "wanted"), [(0.9, None), (0.8, RefusalReason.DUPLICATE), (None, None)]
)
def test_duplicates_are_told_by_the_share_of_common_words(overlap, wanted):
    known = "{query} a b c d e f g h i"
    text = "{query} a b c d e f g y z"
    assert reason(text, known=(known,), duplicate_overlap=overlap) is wanted


@settings(deadline=None)
@over(st.text())
def test_any_text_is_judged(text):
    refusal = guards().check(text)
    assert refusal is None or refusal.message


@settings(deadline=None)
@over(
    before=st.lists(st.sampled_from("abcdefg"), max_size=8),
    row=st.lists(st.sampled_from("abcdefg"), min_size=6, max_size=9),
    after=st.lists(st.sampled_from("abcdefg"), max_size=8),
)
def test_a_row_is_found_wherever_it_stands(before, row, after):
    text = " ".join(["{query}", *before, *row, *after])
    held = guards(baseline="x {query}", rows=(" ".join(row),))
    refusal = held.check(text)
    assert refusal is not None
    assert refusal.reason is RefusalReason.COPIES_ROW


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{a} {b} {a}", ["a", "b"]),
        ("{{a}} {{{b}}}", ["b"]),
        ("{ a } {1} {} {a b}", []),
        ("{user.name} {x-y}", ["user.name", "x-y"]),
    ],
)
def test_placeholders_are_names_in_single_braces(text, names):
    assert placeholders_of(text) == names
