//! Leases: one for each process, which only it prolongs, and what ends with it.

mod ends;
mod keeps;

use crate::case::cases;
use crate::store::ScriptedProcess;
use std::time::Duration;
use tokio::time::sleep;

cases! { Store:
    "lease/echo/welcome", Must ["lease.echo"] keeps::echo_in_welcome,
        "Welcome repeats the time that the Hello names, whatever it is.";
    "lease/echo/alive", Must ["lease.echo", "lease.alive"] keeps::echo_in_alive,
        "Each KeepAlive is answered with the time that it names.";
    "lease/whole/after-hello", Must ["lease.whole", "lease.ends"] keeps::whole_after_hello,
        "A lease ends when nothing is heard of the process, and not sooner than it said in Welcome.";
    "lease/whole/after-keep-alive", Must ["lease.whole", "lease.ends"] keeps::whole_after_keep_alive,
        "A KeepAlive that is answered begins a whole lease.";
    "lease/whole/after-second-hello", Must ["lease.whole", "lease.ends"] keeps::whole_after_second_hello,
        "A Hello on a new connection begins a whole lease.";
    "lease/whole/kept-for-long", Must ["lease.whole", "lease.alive"] keeps::kept_for_long,
        "A process that says KeepAlive in time keeps its grants for longer than a lease.";
    "lease/only/keep-alive-prolongs", Must ["lease.only-keep-alive", "lease.ends"] keeps::only_keep_alive,
        "A process that says anything but KeepAlive loses its lease.";
    "lease/disconnected/frees-nothing", Must ["lease.frees-nothing", "reconnect.known"] keeps::frees_nothing,
        "A process that comes back within its lease has its grants.";
    "lease/ends/frees-grants", Must ["lease.ends", "reconnect.known"] ends::frees_grants,
        "What a process held whose lease has ended is free, and not known when it comes back.";
    "lease/ends/holder-dies-after-the-recall", Must ["lease.ends", "queue.passes-by"] ends::holder_dies,
        "The session of a holder that dies when it was recalled goes to who waits, as it was committed.";
    "lease/ends/clears-recalls", Must ["lease.ends", "recall.ends-with-grant"] ends::clears_recalls,
        "The recall of a grant whose holder has lost its lease is not said of the next grant.";
    "lease/ends/drops-waits", Must ["lease.ends"] ends::drops_waits,
        "A process that has lost its lease while it waited does not get the session, and holds nobody up.";
    "lease/ends/pause", Must ["fence.commit", "lease.told"] (Pause) ends::after_a_pause,
        "After a store was stopped for longer than a lease a commit is written, or its process is told that it has lost the grant.";
    "lease/told/every-message", Must ["lease.told"] ends::every_message,
        "Every message of a process without a lease is answered with LeaseEnded.";
    "lease/restart/holder-is-known", Must ["lease.restart", "reconnect.known", "grant.durable"] (Restart) ends::restart_knows_holder,
        "After a restart a grant is still of its holder, and of nobody else.";
    "lease/restart/whole-lease", Must ["lease.restart"] (Restart) ends::restart_whole_lease,
        "After a restart a holder has a whole lease, however little was left of the old one.";
    "lease/restart/ends-too", Must ["lease.ends", "lease.restart"] (Restart) ends::restart_ends_too,
        "A holder that does not come back after a restart loses its grant in the end.";
    "lease/goodbye/ends-all", Must ["lease.goodbye", "lease.told"] ends::goodbye,
        "Goodbye ends the lease, the grants and the waits at once.";
    "lease/goodbye/welcome-again", Must ["lease.goodbye", "connect.answers-hello"] ends::welcome_after_goodbye,
        "Who has said Goodbye can come back, and holds nothing.";
}

/// Half of a lease goes by, of which the store hears nothing.
async fn half_a_lease(p: &ScriptedProcess) {
    sleep(Duration::from_millis(p.lease_ms / 2)).await;
}
