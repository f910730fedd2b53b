//! Traces with exactly one deliberate error.

use super::record::{Entry, encoded};
use serde_json::{Value, json};

/// A deliberate error in a scene.
pub(crate) struct Wrong {
    pub(crate) name: &'static str,
    pub(crate) scene: &'static str,
    /// The violated rule.
    pub(crate) rule: &'static str,
    pub(crate) what: &'static str,
    edit: fn(&mut Vec<Entry>) -> usize,
}

impl Wrong {
    /// Applies the error, and returns its position. The entries behind it are removed.
    pub(crate) fn make(&self, entries: &mut Vec<Entry>) -> usize {
        let place = (self.edit)(entries);
        entries.truncate(place + 1);
        place
    }
}

// ---- editing --------------------------------------------------------------------------------------------------------

/// Returns the position at which the nth message of that name leaves.
fn sent(entries: &[Entry], who: &str, message: &str, nth: usize) -> usize {
    let is_it = |entry: &Entry| {
        let item = entry.get("item");
        let said = item.and_then(|item| item.get("Message").or(Some(item)));
        let is_named = said.is_some_and(|said| said == message || said.get(message).is_some());
        entry["who"] == who && is_named
    };
    place(entries, nth, is_it).unwrap_or_else(|| panic!("no {message} #{nth} of {who}"))
}

/// Returns the position of the nth answer to, or call of, a thread with that name.
fn thread(entries: &[Entry], who: &str, what: &str, nth: usize) -> usize {
    let is = |entry: &Entry, key: &str| entry.get(key).is_some_and(|own| own == what);
    let is_it = |entry: &Entry| entry["who"] == who && (is(entry, "told") || is(entry, "did"));
    place(entries, nth, is_it).unwrap_or_else(|| panic!("no {what} #{nth} of {who}"))
}

fn place(entries: &[Entry], nth: usize, is_it: impl Fn(&Entry) -> bool) -> Option<usize> {
    let all = entries.iter().enumerate().filter(|(_, entry)| is_it(entry));
    all.map(|(at, _)| at).nth(nth - 1)
}

/// Changes the contents of a message.
fn says(entries: &mut [Entry], at: usize, change: impl FnOnce(&mut Value)) -> usize {
    let item = entries[at]
        .get_mut("item")
        .expect("a frame where it leaves");
    let said = match item.get_mut("Message") {
        Some(message) => message,
        None => item,
    };
    let fields = said
        .as_object_mut()
        .and_then(|said| said.values_mut().next());
    change(fields.expect("a message with fields"));
    encode(&mut entries[at]);
    at
}

/// Replaces a message by another one in the same direction.
fn sends(entries: &mut Vec<Entry>, at: usize, who: &str, message: Value) -> usize {
    let mut entry = entries[at].clone();
    entry.insert("who".to_owned(), who.into());
    entry.insert("item".to_owned(), json!({ "Message": message }));
    encode(&mut entry);
    entries.insert(at, entry);
    at
}

fn encode(entry: &mut Entry) {
    let (hex, diagnostic) = encoded(entry["way"] == ">", &entry["item"]);
    entry.insert("hex".to_owned(), hex.into());
    entry.insert("diagnostic".to_owned(), diagnostic.into());
}

/// Removes a message and everything behind it.
fn missing(entries: &mut Vec<Entry>, at: usize) -> usize {
    entries.truncate(at);
    at - 1
}

/// Ends the trace with a note at the given time, so that nothing more comes until then.
fn passes(entries: &mut Vec<Entry>, at: usize, at_ms: u64) -> usize {
    entries.truncate(at);
    let note = json!({"at_ms": at_ms, "who": "p", "way": "!", "says": "nothing more has come"});
    let Value::Object(note) = note else {
        unreachable!("json! with braces creates an object")
    };
    entries.push(note);
    at
}

/// Inserts an answer to a thread.
fn tells(entries: &mut Vec<Entry>, at: usize, (who, thread): (&str, u64), told: Value) -> usize {
    let session = entries
        .iter()
        .find_map(|entry| entry.get("session").cloned());
    let at_ms = entries[at.min(entries.len() - 1)]["at_ms"].clone();
    let entry = json!({
        "at_ms": at_ms, "who": who, "way": "!", "at": "process", "thread": thread, "session": session,
    });
    let (Value::Object(mut entry), Value::Object(told)) = (entry, told) else {
        unreachable!("json! with braces creates objects")
    };
    entry.extend(told);
    entries.insert(at, entry);
    at
}

const OTHER: [u64; 2] = [1, 99];

fn stamp([epoch, sequence]: [u64; 2]) -> Value {
    json!({"epoch": epoch, "sequence": sequence})
}

fn session() -> Value {
    json!(b"s")
}

fn granted(request: u64, token: [u64; 2]) -> Value {
    json!({"Granted": {
        "session": session(), "request": request, "token": stamp(token), "version": stamp([0, 0]),
        "state": {"Full": {"changes": []}}, "recall": null, "give_back": false,
    }})
}

fn acquire() -> Value {
    json!({"Acquire": {"session": session(), "request": 1, "known": null, "patience": "Wait", "ticket": null}})
}

fn changes(value: &[u8]) -> Value {
    json!({"changes": [{"name": b"a", "value": value}]})
}

macro_rules! wrongs {
    ($($name:literal: $scene:literal, $rule:literal, $what:literal, $edit:expr;)+) => {
        &[$(Wrong { name: $name, scene: $scene, rule: $rule, what: $what, edit: $edit }),+]
    };
}

/// The deliberate errors of stores.
pub(crate) const OF_STORES: &[Wrong] = wrongs! {
    "grant-exclusive": "ordinary", "grant.exclusive", "q is granted a session that p holds",
        |all| { let at = sent(all, "q", "Queued", 1); sends(all, at, "q", granted(1, OTHER)) };
    "grant-token-rises": "freed-before-written", "grant.token-rises",
        "the token is lower than that of the grant before",
        |all| { let at = sent(all, "q", "Granted", 1); says(all, at, |said| said["token"] = stamp([1, 1])) };
    "grant-state": "freed-before-written", "grant.state", "the grant of q lacks the changes of p",
        |all| { let at = sent(all, "q", "Granted", 1);
            says(all, at, |said| said["state"] = json!({"Full": {"changes": []}})) };
    "grant-new-session": "ordinary", "grant.new-session", "the grant of an absent session has attributes",
        |all| { let at = sent(all, "p", "Granted", 1);
            says(all, at, |said| said["state"] = json!({"Full": changes(b"x")})) };
    "grant-names-request": "request-crosses-grant", "grant.names-request", "the grant names another request",
        |all| { let at = sent(all, "p", "Granted", 1); says(all, at, |said| said["request"] = 7.into()) };
    "grant-at-once": "ordinary", "grant.at-once", "p has to wait for a session that is free",
        |all| { let at = sent(all, "p", "Granted", 1);
            sends(all, at, "p", json!({"Queued": {"session": session(), "request": 1, "ticket": stamp([1, 1])}})) };
    "grant-same-again": "read-bumps-token", "grant.same-again", "a repeated request receives another token",
        |all| { let at = sent(all, "p", "Granted", 2); says(all, at, |said| said["token"] = stamp(OTHER)) };
    "queue-fifo": "queue", "queue.fifo-connected", "r is granted before q, although q asked first",
        |all| { let at = sent(all, "q", "Granted", 1); sends(all, at, "r", granted(1, OTHER)) };
    "queue-same-ticket": "lease-unheard", "queue.same-ticket", "a repeated request receives another ticket",
        |all| { let at = sent(all, "q", "Queued", 2); says(all, at, |said| said["ticket"] = stamp(OTHER)) };
    "queue-tickets-rise": "queue", "queue.tickets-rise", "r has a lower ticket than q, although r came later",
        |all| { let at = sent(all, "r", "Queued", 1); says(all, at, |said| said["ticket"] = stamp([1, 1])) };
    "queue-passes-on": "freed-before-written", "queue.passes-by", "q is not granted the session that p has released",
        |all| { let at = sent(all, "q", "Granted", 1); missing(all, at) };
    "recall-asks": "ordinary", "recall.asks", "p is not recalled although q waits",
        |all| { let at = sent(all, "p", "Recall", 1); missing(all, at) };
    "recall-not-without-reason": "ordinary", "recall.not-without-reason",
        "p is recalled although no other process waits",
        |all| { let at = sent(all, "p", "Granted", 1); sends_behind(all, at, "p", json!({"Recall": {
            "hold": {"session": session(), "token": stamp([1, 2])},
            "notice": {"reason": "Wait", "deadline_ms": 30_000}}})) };
    "recall-not-early": "written-back", "recall.not-early", "the grant is revoked a second before the deadline",
        |all| { let at = sent(all, "p", "Revoked", 1); all.remove(at - 1);
            all[at - 1].insert("at_ms".to_owned(), 3_000.into()); at - 1 };
    "recall-deadline-fixed": "lease-unheard", "recall.deadline-kept", "a repeated recall states a later deadline",
        |all| { let at = sent(all, "p", "Recall", 2);
            says(all, at, |said| said["notice"]["deadline_ms"] = 30_000.into()) };
    "recall-revokes": "written-back", "recall.revokes",
        "the deadline passes, and the grant is not revoked for a second",
        |all| { let at = sent(all, "p", "Recall", 2); passes(all, at, 5_000) };
    "lease-whole": "holder-dies", "lease.whole", "the lease of p ends a second early",
        |all| { let at = sent(all, "q", "Granted", 1); all[at].insert("at_ms".to_owned(), 9_000.into()); at };
    "lease-echo": "lease-unheard", "lease.echo", "the answer to a keep-alive repeats a wrong time",
        |all| { let at = sent(all, "q", "Alive", 1); says(all, at, |said| said["sent"] = 3_001.into()) };
    "lease-alive": "lease-unheard", "lease.alive", "a keep-alive has no answer",
        |all| { let at = sent(all, "q", "Alive", 1); missing(all, at) };
    "commit-answered": "written-back", "commit.answered", "a commit has no answer",
        |all| { let at = sent(all, "p", "Committed", 1); missing(all, at) };
    "release-old": "written-back", "release.old", "a release with an old token creates a version",
        |all| { let at = sent(all, "p", "Released", 1); says(all, at, |said| said["version"] = stamp(OTHER)) };
    "release-answered": "ordinary", "release.answered", "a release has no answer",
        |all| { let at = sent(all, "p", "Released", 1); missing(all, at) };
    "destroy-stays": "written-back", "destroy.stays", "the late release has brought the session back",
        |all| { let at = sent(all, "q", "Granted", 2); says(all, at, |said| {
            said["state"] = json!({"Full": changes(b"y")}); said["version"] = stamp(OTHER); }) };
    "destroy-answered": "rename-and-destroy", "destroy.answered", "a destroy has no answer",
        |all| { let at = sent(all, "q", "Gone", 1); missing(all, at) };
    "rename-new-token": "rename-and-destroy", "rename.new-token", "the grant under the new id has no greater token",
        |all| { let at = sent(all, "p", "Gone", 1); says(all, at, |said| said["renamed"]["token"] = stamp([1, 1])) };
    "end-once": "ordinary", "end.once", "a request is refused after it was granted",
        |all| { let at = sent(all, "p", "Granted", 1);
            sends_behind(all, at, "p", json!({"Refused": {"session": session(), "request": 1, "why": "Deadline"}})) };
    "deadlock-true": "deadlock-and-try", "deadlock.true", "the refusal names a wrong cycle",
        |all| { let at = sent(all, "p", "Refused", 1);
            says(all, at, |said| said["why"] = json!({"Deadlock": {"cycle": [b"s"]}})) };
    "deadlock-found": "deadlock-and-try", "deadlock.found", "no process of the cycle is refused",
        |all| { let at = sent(all, "p", "Refused", 1); missing(all, at) };
    "connect-answers-hello": "ordinary", "connect.answers-hello", "a hello has no answer",
        |all| { let at = sent(all, "p", "Welcome", 1); missing(all, at) };
    "connect-old-connection": "replaced-connection", "connect.old-connection",
        "a message on the old connection is answered there",
        |all| { let at = sent(all, "p#2", "Released", 1);
            sends(all, at, "p", json!({"Released": {
                "session": session(), "token": stamp([1, 2]), "version": stamp([1, 4]),
            }})) };
    "reconnect-known": "ordinary", "reconnect.known", "the welcome does not list a valid grant",
        |all| { let at = sent(all, "p#2", "Welcome", 1); says(all, at, |said| said["holds"] = json!([])) };
    "lease-restart": "restart", "reconnect.known", "the store does not know its holder after a restart",
        |all| { let at = sent(all, "p#2", "Welcome", 1); says(all, at, |said| said["holds"] = json!([])) };
};

fn sends_behind(entries: &mut Vec<Entry>, at: usize, who: &str, message: Value) -> usize {
    entries.insert(at + 1, entries[at].clone());
    let place = sends(entries, at + 1, who, message);
    entries.remove(place + 1);
    place
}

/// The deliberate errors of processes.
pub(crate) const OF_PROCESSES: &[Wrong] = wrongs! {
    "connect-hello-first": "ordinary", "connect.hello-first", "a process requests a session before its hello",
        |all| { let at = sent(all, "p", "Hello", 1);
            sends(all, at, "p", acquire()) };
    "connect-hello-alone": "ordinary", "connect.hello-alone", "a process requests a session before the welcome",
        |all| { let at = sent(all, "p", "Hello", 1);
            sends_behind(all, at, "p", acquire()) };
    "connect-link-rises": "replaced-connection", "connect.link-rises",
        "the second connection has the link number of the first",
        |all| { let at = sent(all, "p#2", "Hello", 1); says(all, at, |said| said["link"]["number"] = 1.into()) };
    "time-monotonic": "lease-unheard", "time.monotonic", "a keep-alive has an earlier time than the one before",
        |all| { let at = sent(all, "p", "KeepAlive", 2); says(all, at, |said| said["sent"] = 2_999.into()) };
    "recall-obeyed": "ordinary", "recall.obeyed", "a recall has no answer",
        |all| { let at = sent(all, "q", "Busy", 1); missing(all, at) };
    "recall-obeyed-in-the-end": "freed-before-written", "recall.obeyed",
        "the last thread has left, and the grant is not released",
        |all| { let at = sent(all, "p", "Release", 1); all.remove(at); at };
    "recall-keeps-until-out": "freed-before-written", "recall.keeps-until-out",
        "the grant is released while a thread is inside",
        |all| { let at = sent(all, "p", "Busy", 1);
            sends_behind(all, at, "p", json!({"Release": {
                "session": session(), "token": stamp([1, 2]), "base": stamp([0, 0]),
                "delta": {"changes": []}, "requeue": null, "idle_ms": 0,
            }})) };
    "release-whole": "freed-before-written", "release.whole", "the release lacks a thread's changes",
        |all| { let at = sent(all, "p", "Release", 1); says(all, at, |said| said["delta"] = json!({"changes": []})) };
    "gate-requeues": "recall-overtakes-grant", "gate.requeues", "a thread waits, but the release carries no request",
        |all| { let at = sent(all, "p", "Release", 1); says(all, at, |said| said["requeue"] = Value::Null) };
    "gate-closed": "recall-overtakes-grant", "gate.closed", "a thread enters after the recall",
        |all| { let at = thread(all, "p", "lock", 2) + 1;
            tells(all, at, ("p", 2), json!({"told": "locked", "token": [1, 2], "values": {}})) };
    "thread-ends-once-late": "used-after-timeout", "thread.ends-once",
        "a thread enters after its wait was reported as ended",
        |all| { let at = thread(all, "q", "refused", 1) + 3;
            tells(all, at, ("q", 1), json!({"told": "locked", "token": [1, 4], "values": {}})) };
    "grant-returns-unasked": "ordinary", "grant.returns-unasked", "a grant that was not requested is not released",
        |all| { let at = sent(all, "p", "Acquire", 1); all.truncate(at);
            let mut come = all[at - 1].clone(); come.retain(|key, _| ["at_ms", "who", "at"].contains(&key.as_str()));
            come.insert("way".to_owned(), "<".into());
            come.insert("item".to_owned(), json!({"Message": granted(7, OTHER)}));
            encode(&mut come); all.pop(); all.push(come); at - 1 };
    "queue-keeps-ticket": "lease-unheard", "queue.keeps-ticket", "a request is repeated without its ticket",
        |all| { let at = sent(all, "q", "Acquire", 2); says(all, at, |said| said["ticket"] = Value::Null) };
    "end-requests-rise": "ordinary", "end.requests-rise", "a new request has the number of an earlier one",
        |all| { let at = sent(all, "p", "Acquire", 2); says(all, at, |said| said["request"] = 1.into()) };
    "end-one-at-a-time": "ordinary", "end.one-at-a-time", "a process requests a session that it holds",
        |all| { let at = thread(all, "p", "locked", 2); let from = sent(all, "p", "Acquire", 1);
            let mut again = all[from].clone(); again["item"]["Message"]["Acquire"]["request"] = 2.into();
            encode(&mut again); all.insert(at + 1, again); at + 1 };
    "grant-known": "rename-and-destroy", "grant.known", "a request names a version that the process does not have",
        |all| { let at = sent(all, "q", "Acquire", 1); says(all, at, |said| said["known"] = stamp([1, 2])) };
    "thread-discards": "ordinary", "thread.discards", "a commit carries a change that no thread has made",
        |all| { let at = sent(all, "q", "Commit", 1); says(all, at, |said| said["delta"] = changes(b"never")) };
    "commit-told": "read-bumps-token", "commit.told",
        "a thread receives the answer that its changes are durable before the store has sent it",
        |all| { let at = sent(all, "p", "Commit", 1) + 1;
            tells(all, at, ("p", 1), json!({"told": "committed", "version": [1, 3]})) };
    "reconnect-names-holds": "ordinary", "reconnect.names-holds", "a hello does not list a grant of the process",
        |all| { let at = sent(all, "p#2", "Hello", 1); says(all, at, |said| said["holds"] = json!([])) };
    "reconnect-names-waits": "restart", "reconnect.names-waits", "a hello does not list a waiting request",
        |all| { let at = sent(all, "q#2", "Hello", 1); says(all, at, |said| said["waits"] = json!([])) };
    "reconnect-repeats": "replaced-connection", "recall.obeyed",
        "a release without an answer is not repeated although its grant is recalled",
        |all| { let at = sent(all, "p#2", "Release", 2); missing(all, at) };
    "destroy-all-locked": "rename-and-destroy", "destroy.all-locked",
        "a session is destroyed although no thread has locked it whole",
        |all| { let at = thread(all, "p", "done", 2); let from = sent(all, "p", "Rename", 1);
            let mut own = all[from].clone();
            own["item"] = json!({"Message": {"Destroy": {"session": b"t", "token": stamp([1, 3])}}});
            encode(&mut own); all.insert(at + 1, own); at + 1 };
    "thread-needs-grant": "ordinary", "thread.needs-grant", "a thread enters before the grant has come",
        |all| { let at = sent(all, "p", "Acquire", 1) + 1;
            tells(all, at, ("p", 1), json!({"told": "locked", "token": [1, 2], "values": {}})) };
    "thread-one-per-attribute": "unlock-by-stranger", "thread.one-per-attribute",
        "two threads have locked the same attribute",
        |all| { let at = thread(all, "p", "lock", 2) + 1;
            tells(all, at, ("p", 2), json!({"told": "locked", "token": [1, 2], "values": {}})) };
    "thread-stranger": "unlock-by-stranger", "thread.stranger", "a thread unlocks an attribute that it has not locked",
        |all| { let at = thread(all, "p", "refused", 1);
            all.remove(at); tells(all, at, ("p", 2), json!({"told": "done"})) };
    "thread-sees-state": "ordinary", "thread.sees-state", "a thread does not see the changes of the last thread",
        |all| { let at = thread(all, "p", "locked", 2); all[at].insert("values".to_owned(), json!({})); at };
    "thread-ends-once": "ordinary", "thread.ends-once", "a thread receives two grants for one request",
        |all| { let at = thread(all, "p", "locked", 1); let again = all[at].clone(); all.insert(at, again); at + 1 };
    "thread-deadline": "used-after-timeout", "thread.deadline", "a thread waits longer than its own deadline",
        |all| { let at = thread(all, "q", "refused", 1); passes(all, at, 500) };
    "lease-lost": "lease-unheard", "lease.lost", "a thread continues after the lease has ended",
        |all| { let at = thread(all, "p", "lost", 2); all[at] = all[at].clone();
            all[at].insert("told".to_owned(), "done".into()); all[at].remove("why"); at };
    "lease-goodbye-last": "ordinary", "lease.goodbye-last", "a process sends a message after its goodbye",
        |all| { let at = sent(all, "p#2", "Goodbye", 1);
            sends_behind(all, at, "p#2", json!({"KeepAlive": {"sent": 3_000}})) };
    "fence-token-shown": "ordinary", "fence.token-shown", "a thread sees a wrong token",
        |all| { let at = thread(all, "p", "locked", 1); all[at].insert("token".to_owned(), json!([1, 9])); at };
    "deadlock-blocked-on": "deadlock-and-try", "deadlock.blocked-on",
        "a busy does not name the session that the threads inside wait for",
        |all| { let at = sent(all, "p", "Busy", 1); says(all, at, |said| said["blocked_on"] = json!([])) };
    "wire-missing-key": "ordinary", "wire.missing-key", "an acquire lacks its wait mode",
        |all| { let at = sent(all, "p", "Acquire", 1);
            all[at].insert("hex".to_owned(), "00000004100300010000000000000001a1004173".into());
            all[at].insert("diagnostic".to_owned(), "{0: h'73'}".into()); all[at].remove("item"); at };
    "wire-wrong-side": "ordinary", "wire.wrong-side", "a process sends a message that only stores send",
        |all| { let at = sent(all, "p", "Acquire", 1); let welcome = sent(all, "p", "Welcome", 1);
            for key in ["hex", "diagnostic"] {
                let own = all[welcome][key].clone();
                all[at].insert(key.to_owned(), own);
            }
            all[at].remove("item"); at };
};

/// Returns all deliberate errors.
pub(crate) fn all() -> impl Iterator<Item = &'static Wrong> {
    OF_STORES.iter().chain(OF_PROCESSES)
}
