//! Claims about schedules.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text, "svc/sync#1/n1").unwrap()
}

fn succeeded(text: &str) -> Past {
    Past {
        last_success: Some(at(text)),
        last_attempt: Some(at(text)),
        failures: 0,
    }
}

/// When it is due next, seen at `now`: `now` itself if it is due.
fn due(text: &str, now: &str, past: &Past) -> String {
    match schedule(text).is_due(at(now), past) {
        Due::Now => "now".to_owned(),
        Due::NotYet(None) => "never".to_owned(),
        Due::NotYet(Some(next)) => next.to_string(),
    }
}

/// Whether what never ran is due at `now`.
fn allows(text: &str, now: &str) -> bool {
    due(text, now, &Past::default()) == "now"
}

#[test]
fn the_times_of_the_documentation_are_allowed_and_no_others() {
    for (text, now, expected) in [
        ("", "2015-02-27T10:00", false),
        ("@0", "2015-02-27T10:00", false),
        ("*@0", "2015-02-27T10:00", false),
        ("*", "2015-02-27T10:00", true),
        ("*@61", "2015-02-27T10:00", true),
        ("09:00-09:20", "2015-02-27T10:00", false),
        ("09:00-09:20", "2015-02-27T09:19:59", true),
        ("09:20-09:00", "2015-02-27T10:00", true),
        ("09:20-09:00", "2015-02-27T08:00", true),
        ("09:20-09:00", "2015-02-27T09:10", false),
        ("09:00", "2015-02-27T08:59", false),
        ("09:00", "2015-02-27T17:00", true),
        ("08:00-09:00,20:00-24:00", "2015-02-27T23:59:30", true),
        ("00:00-23:59", "2015-02-27T23:59:30", true),
        ("23:00-00:59", "2016-09-01T23:00", true),
        ("* fri", "2015-10-08T10:00", false),
        ("* fri", "2015-10-09T10:00", true),
        ("* mon-fri", "2015-10-10T10:00", false),
        ("* sat-sunday", "2015-10-10T10:00", true),
        ("* sun-tue", "2015-10-10T10:00", false),
        ("* 0,6", "2015-10-11T10:00", true),
        ("* 7", "2015-10-11T10:00", true),
        ("* *:last", "2015-01-31T10:00", true),
        ("* :last", "2015-01-30T10:00", false),
        ("* *:-2", "2015-01-30T10:00", true),
        ("* *:first", "2015-01-01T10:00", true),
        ("* *:+5", "2015-01-05T10:00", true),
        ("* :5", "2015-01-06T10:00", false),
        ("* fri:last", "2015-01-30T10:00", true),
        ("* fri:last", "2015-01-23T10:00", false),
        ("* fri:2", "2015-01-09T10:00", true),
        // The last working day of a month that ends on a Saturday.
        ("* mon-fri:last", "2015-01-30T10:00", true),
        ("* *:%2+1", "2015-01-03T10:00", true),
        ("* *:%2+1", "2015-01-04T10:00", false),
        ("* * * jan-feb", "2015-01-06T10:00", true),
        ("* * * dec-jan", "2015-01-06T10:00", true),
        ("* * * jan-feb%2", "2015-01-06T10:00", false),
        ("* * * %2+1", "2015-01-06T10:00", true),
        ("* mon %2", "2015-01-05T10:00", true),
        ("* mon %2", "2015-01-12T10:00", false),
        ("* * 50-2", "2015-01-06T10:00", true),
        ("18:00-18:59@60 wed", "2016-08-31T18:00", true),
        (
            r#"["00:00-02:00", "10:00-12:00 fri"]"#,
            "2015-02-27T11:00",
            true,
        ),
        (
            r#"["*", "! 08:00-18:00 mon-fri"]"#,
            "2015-02-27T11:00",
            false,
        ),
        (r#"["*", "!08:00-18:00 mon-fri"]"#, "2015-02-27T18:00", true),
    ] {
        assert_eq!(allows(text, now), expected, "{text} at {now}");
    }
}

#[test]
fn the_next_time_after_a_success_is_that_of_the_next_window() {
    for (text, now, success, expected) in [
        (
            "09:00-09:20",
            "2015-02-27T10:00",
            "2015-02-27T09:05",
            "2015-02-28T09:00:00",
        ),
        (
            "09:00-09:20 mon",
            "2022-05-20T10:00",
            "2022-05-16T09:05",
            "2022-05-23T09:00:00",
        ),
        (
            "09:00-09:20",
            "2020-02-28T10:00",
            "2020-02-28T09:05",
            "2020-02-29T09:00:00",
        ),
        (
            "09:00-10:20@31",
            "2015-02-27T09:06",
            "2015-02-27T09:05",
            "2015-02-27T09:36:00",
        ),
        (
            "09:00-10:20@2h",
            "2015-02-27T09:06",
            "2015-02-27T09:05",
            "2015-02-28T09:00:00",
        ),
        (
            "* fri",
            "2022-05-23T09:06",
            "2022-05-20T09:05",
            "2022-05-27T00:00:00",
        ),
        (
            "* *:last",
            "2022-05-23T09:06",
            "2022-05-20T09:05",
            "2022-05-31T00:00:00",
        ),
        (
            "* * * jan-feb%2",
            "2022-05-23T09:06",
            "2022-05-20T09:05",
            "2023-02-01T00:00:00",
        ),
        (
            r#"["* * * jan-feb%2", "! 00:00-11:00"]"#,
            "2022-05-23T09:06",
            "2022-05-20T09:05",
            "2023-02-01T11:00:00",
        ),
        (
            "22:00-02:00@1h",
            "2022-05-23T23:30",
            "2022-05-23T23:20",
            "2022-05-24T00:20:00",
        ),
        (
            "@10",
            "2022-05-23T23:30",
            "2022-05-23T23:25",
            "2022-05-23T23:35:00",
        ),
        (
            "*@2d",
            "2022-05-23T23:30",
            "2022-05-23T23:25",
            "2022-05-25T23:25:00",
        ),
        (
            "* *:29 * feb",
            "2023-05-23T23:30",
            "2023-05-23T23:25",
            "2024-02-29T00:00:00",
        ),
    ] {
        assert_eq!(due(text, now, &succeeded(success)), expected, "{text}");
    }
}

#[test]
fn one_success_serves_its_window_and_several_its_interval() {
    let early = succeeded("2015-02-27T03:59");
    assert_eq!(due("04:00-06:00", "2015-02-27T04:00", &early), "now");
    let inside = succeeded("2015-02-27T04:00");
    assert_eq!(
        due("04:00-06:00", "2015-02-27T05:59", &inside),
        "2015-02-28T04:00:00"
    );
    assert_eq!(due("04:00-06:00@20", "2015-02-27T04:20", &inside), "now");
    // The interval of the page's example is longer than its window.
    let page = "03:59-05:59@121 mon-fri";
    assert_eq!(
        due(page, "2015-02-27T05:58", &inside),
        "2015-03-02T03:59:00"
    );
}

#[test]
fn a_window_that_passed_without_a_run_is_made_up_for_outside_of_it() {
    let past = succeeded("2015-02-26T04:10");
    assert_eq!(
        due("04:00-06:00", "2015-02-27T03:00", &past),
        "2015-02-27T04:00:00"
    );
    assert_eq!(due("04:00-06:00", "2015-02-27T09:00", &past), "now");
    let excluded = r#"["04:00-06:00", "! 08:00-18:00"]"#;
    assert_eq!(
        due(excluded, "2015-02-27T09:00", &past),
        "2015-02-27T18:00:00"
    );
}

#[test]
fn what_never_ran_waits_for_its_window() {
    let never = Past::default();
    assert_eq!(
        due("04:00-06:00", "2015-02-27T09:00", &never),
        "2015-02-28T04:00:00"
    );
}

#[test]
fn a_failed_run_is_tried_again_after_1_2_4_minutes_and_at_most_an_hour() {
    for (failures, minutes) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
        let attempt = at("2015-02-27T05:00");
        let past = Past {
            last_success: Some(at("2015-02-26T04:00")),
            last_attempt: Some(attempt),
            failures,
        };
        let next = attempt + jiff::SignedDuration::from_mins(minutes);
        let before = next - jiff::SignedDuration::from_secs(1);
        let schedule = schedule("04:00-06:00");
        assert_eq!(
            schedule.is_due(before, &past),
            Due::NotYet(Some(next)),
            "{failures}"
        );
        assert_eq!(schedule.is_due(next, &past), Due::Now, "{failures}");
    }
}

#[test]
fn a_retry_keeps_out_of_excluded_times_and_not_of_times_between_windows() {
    let past = Past {
        last_success: None,
        last_attempt: Some(at("2015-02-27T05:59:30")),
        failures: 1,
    };
    assert_eq!(due("04:00-06:00", "2015-02-27T06:01", &past), "now");
    let text = r#"["04:00-06:00", "! 06:00-18:00"]"#;
    assert_eq!(due(text, "2015-02-27T06:01", &past), "2015-02-27T18:00:00");
}

#[test]
fn a_clock_that_was_put_back_delays_a_run_by_no_more_than_its_interval() {
    let future = succeeded("2031-01-01T00:00");
    assert_eq!(
        due("*@1h", "2015-02-27T06:00", &future),
        "2015-02-27T07:00:00"
    );
    let failed = Past {
        failures: 1,
        ..future
    };
    assert_eq!(
        due("*@1h", "2015-02-27T06:00", &failed),
        "2015-02-27T06:01:00"
    );
}

#[test]
fn a_random_time_lies_in_its_window_stays_and_differs_between_resources_and_days() {
    let moment = |seed: &str, day: &str| {
        let schedule = Schedule::parse("~22:00-02:00", seed).unwrap();
        let now = at(day);
        match schedule.is_due(now, &succeeded(&format!("{day}T12:00"))) {
            Due::NotYet(Some(next)) => next.duration_since(now).as_secs(),
            other => panic!("{other:?}"),
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    for seed in ["a", "b", "c"] {
        for day in ["2015-02-27", "2015-02-28"] {
            let found = moment(seed, day);
            assert!((22 * 3600..26 * 3600).contains(&found), "{found}");
            assert_eq!(found, moment(seed, day));
            seen.insert(found);
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn what_is_no_schedule_is_refused_with_a_remedy() {
    for (text, part) in [
        ("14-15", "no range of times"),
        ("25:00-26:00", "no range of times"),
        ("24:00-02:00", "day is over"),
        ("9", "no time"),
        ("~", "no time"),
        ("23:00-23:59-01:00", "no range of times"),
        ("23:00-23:59@61@10", "no duration"),
        ("*@x", "no duration"),
        ("*@9999d", "longer than a year"),
        ("* freday", "no day"),
        ("* 8", "no day"),
        ("* *:", "no day"),
        ("* *:0", "no day"),
        ("* *:32", "no day"),
        ("* *:first:*", "no day"),
        ("* ,", "no day"),
        ("* * 54", "no week"),
        ("* * * junuary", "no month"),
        ("* * * %2%3", "no month"),
        ("* * * %0", "no month"),
        ("* * * %2+foo", "no month"),
        ("23:00-23:02 mon 1 12 4", "more than four parts"),
        ("! * mon", "only excludes"),
        ("!", "nothing stands after"),
        (r#"["*", "! 08:00"]"#, "no range of times"),
        (r#"["*", "! *@10"]"#, "never run"),
        (r#"["*", "! *"]"#, "never comes"),
        ("* *:30 * feb", "never comes"),
        ("* * 1 jul", "never comes"),
        ("[*]", "no list of expressions"),
        (r#"["*""#, "no list of expressions"),
    ] {
        let error = Schedule::parse(text, "x").unwrap_err();
        assert!(error.problem.contains(part), "{text}: {error}");
        assert!(!error.remedy.is_empty());
    }
    // A weekday as large as numbers go.
    let largest = format!("* {}", usize::MAX);
    assert!(Schedule::parse(&largest, "x").is_err());
    let many = vec!["01:00"; 65].join(",");
    assert!(Schedule::parse(&many, "x").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[-~!@*%+:,\\[\\]\" 0-9a-z]{0,24}", other in "\\PC{0,12}") {
        let _ = Schedule::parse(&text, "x");
        let _ = Schedule::parse(&other, "x");
    }

    /// The next time that is named is one at which it is due, and no time
    /// before it is.
    #[test]
    fn what_is_due_later_is_due_then_and_not_before(
        text in proptest::sample::select(vec![
            "04:00-06:00", "~22:00-02:00 mon-fri", "*@90", "08:00-18:00@25 mon,wed:last",
            r#"["03:00-05:00@30,23:00-01:00 * %2", "! 04:00-04:10", "! * *:1"]"#,
        ]),
        now in 1_400_000_000_i64..1_900_000_000,
        age in 0_i64..400_000,
        failures in 0_u32..4,
        share in 0_i64..1000,
    ) {
        let schedule = schedule(text);
        let now = civil(now).unwrap();
        let success = now - jiff::SignedDuration::from_secs(age);
        let past = Past { last_success: Some(success), last_attempt: Some(success), failures };
        if let Due::NotYet(next) = schedule.is_due(now, &past) {
            let next = next.expect("all of them come again");
            prop_assert!(next > now);
            prop_assert_eq!(schedule.is_due(next, &past), Due::Now);
            let wait = next.duration_since(now).as_secs();
            let between = now + jiff::SignedDuration::from_secs((wait - 1) * share / 1000);
            prop_assert_eq!(schedule.is_due(between, &past), Due::NotYet(Some(next)));
        }
    }
}
