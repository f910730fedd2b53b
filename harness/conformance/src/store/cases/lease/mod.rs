//! Cases about leases: each process has one, only its own messages extend it, and its grants end with it.

mod ends;
mod keeps;

use crate::case::cases;
use crate::store::ScriptedProcess;
use std::time::Duration;
use tokio::time::sleep;

cases! { Store:
    "lease/echo/welcome", Must ["lease.echo"] keeps::echo_in_welcome,
        "A Welcome repeats the time in the Hello, whatever it is.";
    "lease/echo/alive", Must ["lease.echo", "lease.alive"] keeps::echo_in_alive,
        "Each KeepAlive is answered with its own time.";
    "lease/whole/after-hello", Must ["lease.whole", "lease.ends"] keeps::whole_after_hello,
        "A lease ends if nothing arrives from the process, and not sooner than the Welcome states.";
    "lease/whole/after-keep-alive", Must ["lease.whole", "lease.ends"] keeps::whole_after_keep_alive,
        "A KeepAlive that is answered starts a whole lease.";
    "lease/whole/after-second-hello", Must ["lease.whole", "lease.ends"] keeps::whole_after_second_hello,
        "A Hello on a new connection starts a whole lease.";
    "lease/whole/kept-for-long", Must ["lease.whole", "lease.alive"] keeps::kept_for_long,
        "A process that sends KeepAlive in time keeps its grants for longer than one lease.";
    "lease/only/keep-alive-prolongs", Must ["lease.only-keep-alive", "lease.ends"] keeps::only_keep_alive,
        "Messages other than KeepAlive do not extend the lease.";
    "lease/disconnected/frees-nothing", Must ["lease.frees-nothing", "reconnect.known"] keeps::frees_nothing,
        "A process that reconnects within its lease still has its grants.";
    "lease/ends/frees-grants", Must ["lease.ends", "reconnect.known"] ends::frees_grants,
        "When a lease ends, its grants are free, and the process's next Welcome does not list them.";
    "lease/ends/holder-dies-after-the-recall", Must ["lease.ends", "queue.passes-by"] ends::holder_dies,
        "If a recalled holder dies, a waiter gets the session with its committed state.";
    "lease/ends/clears-recalls", Must ["lease.ends", "recall.ends-with-grant"] ends::clears_recalls,
        "After a holder has lost its lease, the recall of its grant does not apply to the next grant.";
    "lease/ends/drops-waits", Must ["lease.ends"] ends::drops_waits,
        "A process that loses its lease while it waits does not get the session and delays no other waiter.";
    "lease/ends/pause", Must ["fence.commit", "lease.told"] (Pause) ends::after_a_pause,
        "After the store was paused for longer than a lease, a commit is written or its process is notified of the \
        lost grant.";
    "lease/told/every-message", Must ["lease.told"] ends::every_message,
        "Every message of a process without a lease is answered with LeaseEnded.";
    "lease/restart/holder-is-known",
        Must ["lease.restart", "reconnect.known", "grant.durable"] (Restart) ends::restart_knows_holder,
        "After a restart of the store, a grant still belongs to its holder and to no other process.";
    "lease/restart/whole-lease", Must ["lease.restart"] (Restart) ends::restart_whole_lease,
        "After a restart of the store, a holder has a whole lease, however little was left of the old one.";
    "lease/restart/ends-too", Must ["lease.ends", "lease.restart"] (Restart) ends::restart_ends_too,
        "A holder that does not reconnect after a restart of the store eventually loses its grant.";
    "lease/goodbye/ends-all", Must ["lease.goodbye", "lease.told"] ends::goodbye,
        "A Goodbye ends the lease, the grants and the waits at once.";
    "lease/goodbye/welcome-again", Must ["lease.goodbye", "connect.answers-hello"] ends::welcome_after_goodbye,
        "A process that has sent Goodbye can reconnect, and holds nothing.";
}

/// Waits for half of a lease, in which the store receives nothing.
async fn half_a_lease(p: &ScriptedProcess) {
    sleep(Duration::from_millis(p.lease_ms / 2)).await;
}
