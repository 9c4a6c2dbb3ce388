//! Ready as the summary of the other conditions.

use super::*;

fn conditions(list: &[(ConditionType, Status)]) -> Conditions {
    let mut conditions = Conditions::empty(1);
    for (kind, status) in list {
        conditions.set(*kind, *status, "Reason", "message");
    }
    conditions
}

// HC-EVT-005
#[test]
fn ready_follows_the_first_condition_in_order() {
    let decisive = |list: &[_], tests| super::decisive(&conditions(list), tests);
    let released = (RELEASED, Status::True);
    assert_eq!(decisive(&[], true), None);
    assert_eq!(decisive(&[(DRIFTED, Status::True)], true), None);
    assert_eq!(decisive(&[released], false), Some(released));
    let tested = (TEST_SUCCESS, Status::False);
    assert_eq!(decisive(&[released, tested], true), Some(tested));
    let pending = (TEST_SUCCESS, Status::Unknown);
    assert_eq!(decisive(&[released, pending], true), Some(pending));
    // HC-TEST-010
    assert_eq!(decisive(&[released, tested], false), Some(released));
    for status in [Status::True, Status::False] {
        assert_eq!(
            decisive(&[released, tested, (REMEDIATED, status)], true),
            Some((REMEDIATED, Status::False)),
            "what was remediated is not ready"
        );
    }
}
