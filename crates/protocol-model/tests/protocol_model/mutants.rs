//! Leaves out one rule at a time and checks that a property fails. Otherwise the rule or the property would be useless.

use stateright::{Checker as _, HasDiscoveries, Model as _};

use super::model::Checked;
use super::properties::{
    CHOSEN, FAILED, FINAL, IN_TIME, LET_GO, NO_SUCCESS, NONCES, NOT_SENT, ONCE, OWN_REFUSAL, RELEASED, SETTLES,
    SKIPPED, UNCHOSEN, UNTRIED,
};
use super::protocol::{Protocol, Rule};
use super::scenario::{A_CLOCK_FAR_OFF, ALL_CLOCKS, Scenario};
use super::steps;
use super::time::{AT_ONCE, EARLY, ON_ITS_WAY, ORPHANED};

/// Whether `property` fails in `model`. The check ends at the first counterexample.
fn is_noticed(model: Checked, property: &'static str) -> bool {
    let checker = model.checker().finish_when(HasDiscoveries::AnyOf([property].into())).spawn_bfs().join();
    let path = checker.discovery(property);
    println!("{:?}: {} states, \"{property}\" fails: {}", model.protocol, checker.unique_state_count(), path.is_some());
    path.is_some_and(|path| {
        println!("{}", steps(&path));
        true
    })
}

macro_rules! mutants {
    ($($name:ident: $rules:expr, $model:expr => $property:ident;)*) => {$(
        #[test]
        fn $name() {
            use Rule::*;
            let model = Checked { protocol: Protocol::without(&$rules), ..$model };
            assert!(is_noticed(model, $property));
        }
    )*};
}

/// One request and two attempts.
fn single(faults: u8) -> Checked {
    Scenario::Single.with(faults, 2)
}

/// The same with all clock differences.
fn skewed(faults: u8) -> Checked {
    Checked { clocks: ALL_CLOCKS, ..single(faults) }
}

/// The same with one clock that is far off.
fn far_off() -> Checked {
    Checked { clocks: A_CLOCK_FAR_OFF, ..single(0) }
}

/// The same with time for another attempt after a deadline.
fn early(faults: u8, attempts: u8) -> Checked {
    Checked { moments: EARLY, ..Scenario::Single.with(faults, attempts) }
}

/// Two requests that share a call, and `alone` more attempts, for calls of one request each.
fn halves(moments: &'static [i64], alone: u8) -> Checked {
    Checked { moments, ..Scenario::Group.with(1, 2 + alone) }
}

/// A call by SQL for two sessions of one request.
fn in_order(faults: u8) -> Checked {
    Scenario::OneInOrder.with(faults, 2)
}

/// The same with time for a kill that is on its way.
fn followed() -> Checked {
    Checked { moments: ON_ITS_WAY, ..Scenario::OneInOrder.with(1, 1) }
}

/// A call by SQL for two requests.
fn two_in_order() -> Checked {
    Checked { moments: AT_ONCE, ..Scenario::TwoInOrder.with(1, 3) }
}

/// A request that chooses its session.
fn chosen() -> Checked {
    Checked { moments: AT_ONCE, ..Scenario::Chosen.with(0, 2) }
}

mutants! {
    a_call_before_its_claim: [ClaimBeforeCall], single(0) => ONCE;
    a_receipt_named_after_the_object: [NameByContent], Scenario::Twins.with(0, 2) => ONCE;
    a_claim_without_a_deadline: [DispatchDeadline], single(0) => IN_TIME;
    a_deadline_that_nobody_looks_at: [ClockCheck, Fence], single(0) => IN_TIME;
    a_call_without_a_fence: [Fence], single(0) => IN_TIME;
    a_call_that_is_sent_again_without_an_answer: [NeverResend], single(1) => ONCE;
    a_claim_released_without_an_answer: [ReleaseOnlyUnexecuted], single(1) => ONCE;
    a_claim_released_although_its_request_ends: [KeepRejected], single(1) => FAILED;
    a_claim_whose_answer_was_lost_taken_for_anothers: [OursAfterConflict, GiveUpAllTries], single(1) => LET_GO;
    a_claim_of_another_withdrawn: [WithdrawOnlyOurs], early(1, 3) => ONCE;
    a_claim_taken_from_a_holder_at_work: [SettleDeadline], single(0) => FAILED;
    a_session_called_failed_while_its_call_is_on_its_way: [FollowUnanswered], single(1) => FAILED;
    a_receipt_not_looked_for_by_who_comes_too_late: [ReceiptBeforeExpiry], Scenario::Recreated.with(0, 1) => UNTRIED;
    a_missed_kill_called_a_success: [MissedIsNoSuccess], Scenario::Recreated.with(0, 1) => NO_SUCCESS;
    a_request_called_expired_by_one_clock: [ExpiryMargin], skewed(0) => SKIPPED;
    a_clock_that_is_far_off_believed: [ServerClock], far_off() => SKIPPED;
    a_receipt_removed_too_early: [Retention], single(0) => ONCE;
    a_receipt_removed_before_its_request_ended: [ReceiptUntilSettled], single(1) => SKIPPED;
    an_outcome_written_twice: [OutcomeWriteOnce], single(0) => FINAL;
    an_edit_taken_for_the_release_of_a_claim: [ReleaseWhatWasEdited], early(1, 2) => LET_GO;
    a_claim_that_could_not_be_released_forgotten: [RememberGivenUp], early(1, 2) => LET_GO;
    a_claim_stored_again_after_its_release: [GiveUpAllTries], early(1, 2) => LET_GO;
    a_claim_let_go_of_left_to_its_living_holder: [ReleaseWhatWasEdited, OnlyThoseAtWork], early(1, 2) => SETTLES;
    a_record_that_was_refused_left_to_its_living_holder: [OnlyThoseAtWork], Scenario::Twins.with(1, 1) => SETTLES;
    a_request_that_waits_for_a_record_that_is_refused: [EndWithoutRecord], Scenario::Twins.with(1, 1) => SETTLES;
    a_refusal_of_two_taken_for_that_of_each: [NarrowDown], halves(AT_ONCE, 2) => OWN_REFUSAL;
    a_call_split_without_an_answer: [SplitOnlyUnexecuted], halves(AT_ONCE, 2) => ONCE;
    halves_sent_under_the_claims_of_the_whole: [ClaimHalvesAgain], halves(AT_ONCE, 2) => NONCES;
    a_half_sent_whatever_the_clock_says: [HalvesInTime], halves(ORPHANED, 1) => IN_TIME;
    a_claim_released_although_one_of_its_sessions_was_sent: [KeepSent], two_in_order() => RELEASED;
    a_request_sent_again_although_one_of_its_sessions_was_sent: [KeepSent], in_order(1) => ONCE;
    a_kill_without_a_certain_answer_taken_for_unsent: [AmbiguousIsSent], two_in_order() => RELEASED;
    a_request_sent_again_after_a_kill_without_a_certain_answer: [AmbiguousIsSent], in_order(1) => ONCE;
    a_kill_without_a_certain_answer_told_as_unsent: [AmbiguousIsUnknown], two_in_order() => NOT_SENT;
    a_kill_sent_again_in_the_same_call: [NeverResend], in_order(1) => ONCE;
    a_kill_not_followed_as_others_of_its_call_were_answered: [FollowUnanswered], followed() => FAILED;
    a_kill_without_a_condition: [Fence], in_order(0) => IN_TIME;
    a_selection_that_is_no_kill_told_without_a_claim: [ClaimWhatIsNotSent], chosen() => UNCHOSEN;
    a_receipt_named_after_what_matched: [NameBySelector], chosen() => CHOSEN;
    an_outcome_recorded_only_when_its_request_was_told: [RecordWhatIsNotTold], Scenario::Twins.with(1, 1) => SETTLES;
}

#[test]
fn the_fence_alone_keeps_a_call_from_being_late() {
    let model = Checked { protocol: Protocol::without(&[Rule::ClockCheck]), ..skewed(0) };
    assert!(!is_noticed(model, IN_TIME));
}
