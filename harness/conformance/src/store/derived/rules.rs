//! The rules that a derived case checks, derived from its messages or from the property that it shows.

/// For each beginning of an action's name, the rules that the action checks.
const INPUTS: &[(&str, &[&str])] = &[
    ("acquire again", &["grant.same-again", "queue.same-ticket"]),
    ("acquire, request 0", &["grant.no-late-request"]),
    (
        "acquire",
        &["grant.at-once", "grant.exclusive", "recall.asks"],
    ),
    (
        "try",
        &[
            "try.recalls",
            "try.refused-when-busy",
            "try.refused-otherwise",
        ],
    ),
    ("cancel, request 0", &["end.cancelled"]),
    ("cancel", &["end.cancelled", "end.cancel-crossed"]),
    ("commit to an older version", &["commit.repeated"]),
    ("commit under", &["fence.commit"]),
    ("commit", &["commit.answered", "commit.keeps-grant"]),
    (
        "release and ask again under",
        &["release.old", "release.requeued"],
    ),
    (
        "release and ask again",
        &["queue.requeue-last", "release.requeued"],
    ),
    ("release under", &["release.old"]),
    (
        "release",
        &["release.answered", "release.written", "queue.passes-by"],
    ),
    ("busy under", &["recall.stray-busy"]),
    ("busy without", &["deadlock.found", "recall.deadline-kept"]),
    ("busy", &["try.refused-when-busy", "recall.deadline-kept"]),
    ("destroy under", &["destroy.answered-old"]),
    ("destroy", &["destroy.answered", "destroy.stays"]),
    ("rename under", &["fence.rename", "rename.repeated"]),
    ("rename", &["rename.moves", "rename.taken"]),
    ("keep-alive", &["lease.alive", "recall.repeated"]),
    ("goodbye", &["lease.goodbye", "lease.ends"]),
    ("first hello", &["connect.answers-hello"]),
    ("hello of a new incarnation", &["connect.new-incarnation"]),
    ("hello of an old incarnation", &["connect.superseded"]),
    ("hello that waits", &["reconnect.waits", "reconnect.untold"]),
    (
        "hello with nothing",
        &["reconnect.unclaimed", "reconnect.dropped-wait"],
    ),
    (
        "hello with an old token",
        &["reconnect.ended", "reconnect.known"],
    ),
    (
        "hello with all",
        &["reconnect.known", "queue.presented", "recall.repeated"],
    ),
    (
        "the connection is cut",
        &["lease.frees-nothing", "try.refused-otherwise"],
    ),
    ("the lease ends", &["lease.ends", "lease.whole"]),
    ("a process falls silent", &["lease.whole"]),
    ("the recall is repeated", &["recall.reminds"]),
    (
        "the recall's deadline passes",
        &["recall.revokes", "recall.not-early"],
    ),
    ("the wait ends", &["end.answered"]),
    ("the store restarts", &["lease.restart", "grant.durable"]),
];

/// For each property, the rules that it checks.
const PROPERTIES: &[(&str, &[&str])] = &[
    ("recalled while inside", &["recall.asks"]),
    (
        "recall crosses release",
        &["release.answered", "recall.ends-with-grant"],
    ),
    ("a queue of two", &["queue.fifo-connected"]),
    ("nothing to send", &["grant.state", "grant.smallest-state"]),
    ("difference sent", &["grant.state", "grant.smallest-state"]),
    ("whole state sent", &["grant.full"]),
    ("committed under a recall", &["commit.keeps-grant"]),
    ("request crosses its grant", &["grant.same-again"]),
    ("grant crosses cancel", &["end.cancel-crossed"]),
    (
        "release after reconnect",
        &["reconnect.known", "release.answered"],
    ),
    ("holder is dead", &["lease.ends", "recall.asks"]),
    ("takeover after restart", &["lease.restart"]),
    ("revoked while inside", &["recall.revokes"]),
    ("try gets a kept grant", &["try.recalls"]),
    ("try refused", &["try.refused-when-busy"]),
    ("ended and back", &["destroy.stays", "grant.full"]),
    ("renamed", &["rename.moves", "rename.new-token"]),
    ("recalled to end", &["expiry.recalls"]),
    ("lease renewed", &["lease.alive", "lease.echo"]),
    ("lease lost", &["reconnect.unclaimed"]),
    ("end told again", &["reconnect.ended"]),
    ("deadlock found", &["deadlock.found"]),
    ("wanted by two", &["recall.asks"]),
    ("granted at once", &["grant.at-once"]),
];

/// Returns the rules for these actions and properties, each once.
pub(super) fn of(doubts: &[String]) -> Vec<&'static str> {
    let mut all = Vec::new();
    for doubt in doubts {
        let property = PROPERTIES.iter().find(|(name, _)| name == doubt);
        let input = INPUTS.iter().find(|(kind, _)| doubt.starts_with(kind));
        let rules = property.or(input).map_or(&[][..], |(_, rules)| rules);
        for rule in rules {
            if !all.contains(rule) {
                all.push(*rule);
            }
        }
    }
    all
}
