//! The text of each action.

use super::{Action, ProcessTimer, StoreTimer};
use std::fmt;

impl fmt::Display for Action {
    #[expect(clippy::too_many_lines, reason = "one match, an arm for each action")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nth = |place: &u8| {
            if *place == 0 {
                String::new()
            } else {
                format!(" (out of order: {})", place + 1)
            }
        };
        let again = |stays: &bool| {
            if *stays {
                ", and will arrive again"
            } else {
                ""
            }
        };
        match self {
            Self::Thread { process, thread } => {
                write!(f, "p{}.t{} goes on", process + 1, thread + 1)
            }
            Self::Abandon { process, thread } => {
                write!(f, "p{}.t{} gives up waiting", process + 1, thread + 1)
            }
            Self::ToStore {
                process,
                place,
                stays,
            } => {
                write!(
                    f,
                    "store hears p{}{}{}",
                    process + 1,
                    nth(place),
                    again(stays)
                )
            }
            Self::ToProcess {
                process,
                place,
                stays,
            } => {
                write!(
                    f,
                    "p{} hears the store{}{}",
                    process + 1,
                    nth(place),
                    again(stays)
                )
            }
            Self::LoseUp { process, place } => {
                write!(f, "message {} of p{} is lost", place + 1, process + 1)
            }
            Self::LoseDown { process, place } => {
                write!(f, "message {} to p{} is lost", place + 1, process + 1)
            }
            Self::Cut { process, arrive } => {
                write!(
                    f,
                    "connection of p{} is cut, {arrive} of its messages still arrive",
                    process + 1
                )
            }
            Self::Silence { process } => {
                write!(f, "connection of p{} goes silent", process + 1)
            }
            Self::Connect { process } => write!(f, "p{} connects", process + 1),
            Self::Crash { process, arrive } => {
                write!(
                    f,
                    "p{} dies, {arrive} of its messages still arrive",
                    process + 1
                )
            }
            Self::Start { process } => write!(f, "p{} starts again", process + 1),
            Self::Shutdown { process } => write!(f, "p{} shuts down", process + 1),
            Self::GiveBack { process, session } => {
                write!(f, "p{} gives s{} back unasked", process + 1, session + 1)
            }
            Self::Restart => write!(f, "store dies and starts again"),
            Self::Flush => write!(f, "an update becomes durable"),
            Self::Stop { drains: false } => write!(f, "store begins to stop for a restart"),
            Self::Stop { drains: true } => write!(f, "store begins to drain"),
            Self::Fill { is_full: true } => write!(f, "disk of the store is full"),
            Self::Fill { is_full: false } => write!(f, "disk of the store has room again"),
            Self::StoreTimer(timer) => write!(f, "{timer}"),
            Self::ProcessTimer { process, timer } => write!(f, "p{}: {timer}", process + 1),
            Self::Tick { clocks } => write!(f, "time passes (clocks of the processes: {clocks:?})"),
        }
    }
}

impl fmt::Display for StoreTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease { process } => write!(f, "store ends the lease of p{}", process + 1),
            Self::Remind { session } => write!(f, "store repeats the recall of s{}", session + 1),
            Self::Revoke { session } => write!(f, "recall deadline of s{} passes", session + 1),
            Self::Wait { session, process } => write!(
                f,
                "p{} has waited too long for s{}",
                process + 1,
                session + 1
            ),
            Self::Expire { session } => write!(f, "time to live of s{} ends", session + 1),
        }
    }
}

impl fmt::Display for ProcessTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => write!(f, "lease ends"),
            Self::KeepAlive => write!(f, "keep-alive is due"),
            Self::Silent => write!(f, "connection counts as silent"),
            Self::ResendHello => write!(f, "hello is sent again"),
            Self::Resend { session } => write!(f, "request for s{} is sent again", session + 1),
            Self::Late { session } => {
                write!(f, "gives up s{} although threads are inside", session + 1)
            }
            Self::Wait { session, thread } => write!(
                f,
                "t{} has waited too long for s{}",
                thread + 1,
                session + 1
            ),
        }
    }
}
