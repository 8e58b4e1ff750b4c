from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.validate.rules import FEW, MOST, Finding, counted, decide, unusable


def finding(severity="critical", success=False, failing=None, name="expect_x(a)", **kwargs):
    return Finding(
        name=name,
        severity=severity,
        success=success,
        expected="min_value=0",
        observed="found 7",
        failing=failing,
        **kwargs,
    )


@st.composite
def batches(draw):
    rows = draw(st.integers(0, 60))
    positions = st.integers(0, rows - 1) if rows else st.nothing()
    bad = draw(st.dictionaries(positions, st.sampled_from(["duplicate key", "unparsable: a=x"])))
    judged = [position for position in range(rows) if position not in bad]
    findings = draw(
        st.lists(
            st.builds(
                finding,
                severity=st.sampled_from(["critical", "warning"]),
                success=st.booleans(),
                failing=st.none() | st.lists(st.sampled_from(judged), unique=True).map(tuple) if judged else st.none(),
                name=st.sampled_from(["expect_x(a)", "expect_y(b)"]),
            ),
            max_size=4,
        )
    )
    return rows, bad, findings


@given(batches())
def test_every_row_is_accepted_or_rejected_and_never_both(batch):
    rows, bad, findings = batch
    decision = decide(rows, bad, findings)
    assert sorted([*decision.accepted, *decision.rejected]) == list(range(rows))
    assert all(decision.rejected.values()), "a rejected row without a reason"


@given(batches())
def test_every_failing_row_is_rejected_with_every_expectation_that_it_fails(batch):
    rows, bad, findings = batch
    decision = decide(rows, bad, findings)
    for each in findings:
        for position in each.failing or ():
            assert each.name in decision.rejected[position]
    assert decision.rejected.keys() == bad.keys() | {p for each in findings for p in each.failing or ()}


@given(batches())
def test_the_run_stops_exactly_on_a_failed_critical_expectation_or_when_most_rows_are_rejected(batch):
    rows, bad, findings = batch
    decision = decide(rows, bad, findings)
    failed = [each for each in findings if each.severity == "critical" and not each.success]
    most = len(decision.rejected) > max(FEW, MOST * rows) or (rows > 0 and not decision.accepted)
    assert bool(decision.broken) == (bool(failed) or most)
    unparsable = any(reason.startswith("unparsable") for reason in bad.values())
    failed_warnings = sum(each.severity == "warning" and not each.success for each in findings)
    assert len(decision.warnings) == failed_warnings + (unparsable and not most)
    assert sum("does not fit" in each for each in (*decision.warnings, *decision.broken)) == unparsable


@given(batches())
def test_without_a_quarantine_no_row_is_ever_left_out(batch):
    rows, _, findings = batch
    decision = decide(rows, {}, findings, quarantine=False)
    assert decision.accepted == tuple(range(rows))
    assert not decision.rejected


def test_tolerated_rows_go_to_quarantine_without_stopping_the_run():
    decision = decide(1000, {}, [finding(success=True, failing=(3, 4))])
    assert decision.verdict == "passed"
    assert decision.rejected == {3: ("expect_x(a)",), 4: ("expect_x(a)",)}


def test_tolerated_rows_are_reported_where_there_is_no_quarantine():
    decision = decide(1000, {}, [finding(success=True, failing=(3, 4))], quarantine=False)
    assert decision.verdict == "warnings"
    assert decision.warnings[0].endswith("(tolerated)")


def test_few_rejected_rows_do_not_break_a_small_batch_but_most_rows_break_a_large_one():
    assert decide(3, {0: "duplicate key", 1: "duplicate key"}, []).verdict == "passed"
    decision = decide(100, dict.fromkeys(range(51), "unparsable: line 2: a=x (a is an int)"), [])
    assert decision.broken == (
        "51 of 100 rows would go to quarantine: 51 unparsable. 51 of 100 rows have a cell that does not fit its "
        "declared type: line 2: a=x (a is an int)",
    )
    assert decision.warnings == (), "said once"


@pytest.mark.parametrize("rows", [1, 3, 10, 11])
def test_a_batch_of_which_nothing_is_accepted_is_broken_whatever_its_size(rows: int):
    decision = decide(rows, {at: f"unparsable: line {at + 2}: at=1768989600000" for at in range(rows)}, [])
    assert decision.verdict == "broken"
    assert f"{rows} of {rows} rows would go to quarantine" in decision.broken[0]
    assert "line 2: at=1768989600000" in decision.broken[0]
    assert decide(rows, {}, [finding(success=True, failing=tuple(range(rows)))]).verdict == "broken"
    assert decide(0, {}, []).verdict == "passed", "a day without rows is none"


def test_cells_that_do_not_fit_their_type_are_told_and_repeated_keys_are_not():
    unread = {at: f"unparsable: line {at + 2}: amount=3,0" for at in range(7)}
    decision = decide(1000, unread | {8: "unparsable: line 10: n=x", 9: "duplicate key"}, [])
    assert decision.verdict == "warnings"
    assert decision.warnings == (
        "8 of 1,000 rows have a cell that does not fit its declared type: line 2: amount=3,0; line 10: n=x; "
        "line 3: amount=3,0; line 4: amount=3,0; line 5: amount=3,0; …",
    )
    (warning,) = decide(9, {2: "unparsable: line 4: n=" + "x" * 500 + "\n"}, []).warnings
    assert "line 4: n=xxx" in warning
    assert "\n" not in warning
    assert len(warning) < 350
    assert decide(1000, {9: "duplicate key"}, []).verdict == "passed"


def test_a_finding_reads_like_a_sentence_with_counts_rows_and_values():
    text = str(finding(failing=tuple(range(7)), samples=("-1", "-2"), name="expect_x(minutes)"))
    assert text == "expect_x(minutes), min_value=0: found 7 (rows 0, 1, 2, 3, 4, …; values -1, -2)"
    assert "could not be evaluated: no column" in str(finding(error="no column"))


def test_the_first_row_of_a_key_is_kept_and_an_unparsable_one_is_not_the_first():
    keys = [("a",), ("a",), ("a",), ("b",), (None,), (None,)]
    reasons = unusable(["n=x", None, None, None, None, None], keys)
    assert reasons == {0: "unparsable: n=x", 2: "duplicate key"}


def test_reasons_are_counted_by_kind():
    assert counted({0: ("unparsable: a=x",), 1: ("unparsable: a=y", "expect_x(a)"), 2: ("duplicate key",)}) == (
        "2 unparsable, 1 duplicate key, 1 expect_x(a)"
    )


@given(batches(), st.data())
def test_a_released_row_passes_what_was_waived_for_it_and_nothing_else(batch, data):
    rows, bad, findings = batch
    waived = data.draw(
        st.dictionaries(
            st.integers(0, max(rows - 1, 0)), st.frozensets(st.sampled_from(["expect_x(a)", "expect_y(b)"])), max_size=5
        )
    )
    strict, released = decide(rows, bad, findings), decide(rows, bad, findings, waived=waived)
    for position, reasons in strict.rejected.items():
        left = tuple(reason for reason in reasons if position in bad or reason not in waived.get(position, ()))
        assert released.rejected.get(position, ()) == left
    assert released.rejected.keys() <= strict.rejected.keys()
    assert bad.keys() <= released.rejected.keys(), "what cannot be judged is never released"
    said = [{line.partition(". ")[2] or line for line in (*each.broken, *each.warnings)} for each in (strict, released)]
    misfits = [{line for line in each if "does not fit" in line} for each in said]
    assert misfits[0] == misfits[1], "and what is wrong is told as before"
    warnings = [[line for line in each.warnings if "does not fit" not in line] for each in (strict, released)]
    assert warnings[0] == warnings[1]
