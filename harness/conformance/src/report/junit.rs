//! The report as JUnit XML.

use super::{Report, Verdict};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

pub(super) fn write(report: &Report) -> String {
    let mut suite = TestSuite::new(format!("tenure conform: {}", report.target));
    for case in &report.cases {
        let mut status = match case.verdict {
            Verdict::Pass => TestCaseStatus::success(),
            Verdict::Skip | Verdict::KnownFailing => TestCaseStatus::skipped(),
            Verdict::Fail | Verdict::UnexpectedPass => {
                TestCaseStatus::non_success(NonSuccessKind::Failure)
            }
            Verdict::Fault => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        let message = match (&case.expected, &case.seen, &case.why) {
            (Some(expected), Some(seen), _) => Some(format!("expected {expected}; seen {seen}")),
            (_, _, why) => why.clone(),
        };
        if let Some(message) = message {
            status.set_message(message);
        }
        let mut own = TestCase::new(case.id.as_str(), status);
        own.set_classname(case.level.word());
        own.set_time(Duration::from_secs_f64(case.seconds));
        suite.add_test_case(own);
    }
    let mut all = quick_junit::Report::new("tenure conform");
    all.set_time(Duration::from_secs_f64(report.seconds));
    all.add_test_suite(suite);
    all.to_string().unwrap_or_default()
}
