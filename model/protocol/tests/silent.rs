//! A process leaves a silent connection while it still has a lease.

use tenure_protocol::process::{Connection, Input, Output, Timer};
use tenure_protocol::{
    Incarnation, Link, ProcessMachine, ProcessSettings, Settings, Time, ToProcess, ToStore,
};

fn process() -> ProcessMachine {
    let settings = ProcessSettings {
        margin_ms: 100,
        keep_alive_ms: 1_000,
        resend_ms: 500,
        ..ProcessSettings::default()
    };
    ProcessMachine::new(Settings::new(settings), Incarnation(1))
}

fn step(process: &mut ProcessMachine, now: u64, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    process.step(Time(now), input, &mut out);
    out
}

fn link(number: u64) -> Link {
    Link {
        incarnation: Incarnation(1),
        number,
    }
}

/// Connects at `now`. The store welcomes the process at once with a lease of 10,100 ms, of which the margin of 100 ms
/// is subtracted.
fn welcomed(process: &mut ProcessMachine, now: u64, number: u64) {
    step(process, now, Input::Connected);
    let message = ToProcess::Welcome {
        minor: tenure_protocol::MINOR,
        sent: Time(now),
        lease_ms: 10_100,
        holds: Vec::new(),
        gone: Vec::new(),
        limits: None,
    };
    let link = link(number);
    step(process, now, Input::Message { link, message });
    assert_eq!(process.connection(), Connection::Up(link));
}

fn alive(process: &mut ProcessMachine, now: u64, sent: u64) {
    let message = ToProcess::Alive {
        sent: Time(sent),
        lease_ms: 10_100,
        recalls: Vec::new(),
    };
    let link = link(1);
    step(process, now, Input::Message { link, message });
}

#[test]
fn a_silent_connection_is_left_after_half_of_the_remaining_lease() {
    let mut process = process();
    welcomed(&mut process, 0, 1);
    assert_eq!(process.due(&Timer::Silent), None, "nothing was asked");
    step(&mut process, 1_000, Input::Timer(Timer::KeepAlive));
    // 9,000 ms of the lease were left.
    assert_eq!(process.due(&Timer::Silent), Some(Time(5_500)));
    let again = step(&mut process, 1_500, Input::Timer(Timer::KeepAlive));
    assert!(matches!(
        again[..],
        [Output::Send {
            message: ToStore::KeepAlive { .. },
            ..
        }]
    ));
    assert_eq!(
        process.due(&Timer::Silent),
        Some(Time(5_500)),
        "the first one counts"
    );
    assert_eq!(step(&mut process, 5_499, Input::Timer(Timer::Silent)), []);

    let left = step(&mut process, 5_500, Input::Timer(Timer::Silent));
    assert_eq!(left, [Output::Disconnect { link: link(1) }]);
    assert_eq!(process.connection(), Connection::Down);
    assert_eq!(process.lease(), Some(Time(10_000)), "the lease goes on");
    welcomed(&mut process, 5_600, 2);
    assert_eq!(process.lease(), Some(Time(15_600)));
    assert_eq!(process.due(&Timer::Silent), None);
}

#[test]
fn only_the_answer_to_a_keep_alive_ends_the_silence() {
    let mut process = process();
    welcomed(&mut process, 0, 1);
    step(&mut process, 1_000, Input::Timer(Timer::KeepAlive));
    let message = ToProcess::Queued {
        session: tenure_protocol::SessionId::from_static("s"),
        request: tenure_protocol::Request(1),
        ticket: tenure_protocol::Ticket::default(),
    };
    let link = link(1);
    step(&mut process, 1_100, Input::Message { link, message });
    assert_eq!(
        process.due(&Timer::Silent),
        Some(Time(5_500)),
        "the store may not hear it"
    );
    alive(&mut process, 1_200, 1_000);
    assert_eq!(process.due(&Timer::Silent), None);
    step(&mut process, 2_000, Input::Timer(Timer::KeepAlive));
    assert_eq!(process.due(&Timer::Silent), Some(Time(6_500)));
}

#[test]
fn a_hello_waits_for_half_of_the_remaining_lease_but_at_least_the_margin() {
    let mut process = process();
    step(&mut process, 0, Input::Connected);
    assert_eq!(
        process.due(&Timer::Resend(None)),
        Some(Time(500)),
        "without a lease"
    );
    step(&mut process, 0, Input::Disconnected);
    welcomed(&mut process, 0, 2);
    let mut waits = |now: u64| {
        step(&mut process, now, Input::Disconnected);
        step(&mut process, now, Input::Connected);
        process.due(&Timer::Resend(None)).expect("a hello").0 - now
    };
    assert_eq!(waits(5_000), 500, "resend_ms");
    assert_eq!(waits(9_400), 300, "half of 600");
    assert_eq!(waits(9_950), 100, "the margin");
}
