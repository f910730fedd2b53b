//! Explores the store's machine from outside, breadth first, and finds a script for every transition.

use super::place::{EPOCH, Place};
use super::{Export, Script, Step};
use crate::system::{ATTRIBUTES, PROCESSES, SESSIONS};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tenure_protocol::attributes::Change;
use tenure_protocol::message::{Hold, Patience, Wish};
use tenure_protocol::store::{Input, Output, Timer};
use tenure_protocol::{
    Delta, Incarnation, Link, ProcessId, Request, SessionId, Time, ToProcess, ToStore, Token,
    Value, Version,
};

/// So many places are looked at; more show no other transition.
const PLACES_MAX: usize = 8_000;
/// A script that has so many steps goes no further.
const STEPS_MAX: usize = 48;

/// What can be done.
#[derive(Clone, Debug)]
enum Act {
    Input(Input),
    Restart,
}

/// How a place was found first.
struct Found {
    place: Place,
    from: Option<usize>,
    by: Option<Act>,
}

/// How a session stands, what is done, what is answered.
type Transition = (String, String, String);

pub(super) fn export() -> Export {
    let walk = Walk::whole();
    let scripts = walk.scripts();
    Export {
        covered: walk.first.len(),
        left_out: walk.left_out,
        scripts,
    }
}

struct Walk {
    found: Vec<Found>,
    /// Where each transition was seen first, and by what.
    first: BTreeMap<Transition, (usize, Act)>,
    left_out: BTreeMap<String, usize>,
}

impl Walk {
    fn whole() -> Self {
        let mut walk = Self {
            found: vec![Found {
                place: Place::first(),
                from: None,
                by: None,
            }],
            first: BTreeMap::new(),
            left_out: BTreeMap::new(),
        };
        let mut seen = HashSet::from([walk.found[0].place.key()]);
        let mut left_out: BTreeMap<&'static str, BTreeSet<(String, String)>> = BTreeMap::new();
        let mut at = 0;
        while at < walk.found.len() {
            for (kind, act) in acts(&walk.found[at].place) {
                let mut place = walk.found[at].place.clone();
                let class = class_of(&place, &act);
                if let Some(why) = cannot(&place, &act) {
                    if is_first(&act) {
                        left_out.entry(why).or_default().insert((class, kind));
                    }
                    continue;
                }
                let outputs = take(&mut place, &act);
                let transition = (class, kind, outputs);
                if is_first(&act) && !walk.first.contains_key(&transition) {
                    walk.first.insert(transition, (at, act.clone()));
                }
                if walk.found.len() < PLACES_MAX && seen.insert(place.key()) {
                    walk.found.push(Found {
                        place,
                        from: Some(at),
                        by: Some(act),
                    });
                }
            }
            at += 1;
        }
        let is_left_out = |(class, kind): &&(String, String)| {
            let mut all = walk.first.keys();
            !all.any(|(own, input, _)| own == class && input == kind)
        };
        walk.left_out = left_out
            .iter()
            .map(|(why, all)| ((*why).to_owned(), all.iter().filter(is_left_out).count()))
            .filter(|(_, count)| *count > 0)
            .collect();
        walk
    }

    fn path(&self, mut at: usize) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some(from) = self.found[at].from {
            acts.extend(self.found[at].by.clone());
            at = from;
        }
        acts.reverse();
        acts
    }

    /// Few scripts that together lead to all transitions: those that are farthest first, and on the way and at the end of each
    /// what else changes nothing there.
    fn scripts(&self) -> Vec<Script> {
        let mut all: Vec<(&Transition, usize, &Act)> = self
            .first
            .iter()
            .map(|(transition, (at, act))| (transition, *at, act))
            .collect();
        all.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
        let mut covered: BTreeSet<Transition> = BTreeSet::new();
        let (mut scripts, mut ids) = (Vec::new(), BTreeSet::new());
        for (transition, at, act) in all {
            if covered.contains(transition) {
                continue;
            }
            let mut script = Draft::default();
            for act in self.path(at) {
                script.take(&act, &mut covered);
            }
            self.linger(&mut script, false, &mut covered);
            // The same, with the numbers of now.
            let now = acts(&script.place)
                .into_iter()
                .find(|(kind, own)| *kind == transition.1 && whose(own) == whose(act));
            script.take(
                &now.map_or_else(|| act.clone(), |(_, act)| act),
                &mut covered,
            );
            covered.insert(transition.clone());
            self.linger(&mut script, true, &mut covered);
            scripts.push(script.finish(transition, &mut ids));
        }
        scripts.sort_by(|one: &Script, other: &Script| one.id.cmp(&other.id));
        scripts
    }

    /// Does what was not done yet and leaves everything as it is; at the end of a script also what does not.
    fn linger(&self, script: &mut Draft, is_end: bool, covered: &mut BTreeSet<Transition>) {
        while script.steps.len() < STEPS_MAX {
            let place = &script.place;
            let key = place.key();
            let mut next = None;
            for (kind, act) in acts(place) {
                let is_timer = matches!(act, Act::Input(Input::Timer(_)) | Act::Restart);
                let is_hello = kind.contains("hello") && !is_end;
                if is_timer || is_hello || !is_first(&act) || cannot(place, &act).is_some() {
                    continue;
                }
                let mut after = place.clone();
                let class = class_of(place, &act);
                let transition = (class, kind.clone(), take(&mut after, &act));
                if !self.first.contains_key(&transition) || covered.contains(&transition) {
                    continue;
                }
                if after.key() == key {
                    next = Some(act);
                    break;
                }
                next = next.or_else(|| is_end.then_some(act));
            }
            let Some(act) = next else { return };
            script.take(&act, covered);
        }
    }
}

/// Who does it, with which session.
fn whose(act: &Act) -> (Option<ProcessId>, Option<SessionId>) {
    match act {
        Act::Input(Input::Message {
            process, message, ..
        }) => (Some(process.clone()), Some(session_of(message).clone())),
        Act::Input(Input::Disconnected { process, .. }) => (Some(process.clone()), None),
        Act::Input(Input::Timer(timer)) => match timer {
            Timer::Lease(process) => (Some(process.clone()), None),
            Timer::Wait(session, process) => (Some(process.clone()), Some(session.clone())),
            Timer::Remind(session) | Timer::Revoke(session) | Timer::Expire(session) => {
                (None, Some(session.clone()))
            }
        },
        Act::Input(Input::Recall(session)) => (None, Some(session.clone())),
        Act::Restart => (None, None),
    }
}

/// Whether the first process does it with the first session, or nobody does: the others are like them.
fn is_first(act: &Act) -> bool {
    let (process, session) = whose(act);
    process.is_none_or(|process| process == PROCESSES[0])
        && session.is_none_or(|session| session == SESSIONS[0])
}

/// A script in the making.
struct Draft {
    place: Place,
    steps: Vec<Step>,
    doubts: BTreeSet<String>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            place: Place::first(),
            steps: Vec::new(),
            doubts: BTreeSet::new(),
        }
    }
}

impl Draft {
    fn take(&mut self, act: &Act, covered: &mut BTreeSet<Transition>) {
        let class = class_of(&self.place, act);
        let found = acts(&self.place).into_iter();
        let kind = found
            .map(|(kind, own)| (kind, format!("{own:?}")))
            .find(|(_, own)| *own == format!("{act:?}"))
            .map(|(kind, _)| kind);
        let outputs = take(&mut self.place, act);
        if let Some(kind) = kind
            && covered.insert((class, kind.clone(), outputs))
        {
            self.doubts.insert(kind);
        }
        self.steps.push(match act {
            Act::Input(input) => Step::of(input),
            Act::Restart => Step::restart(),
        });
    }

    fn finish(mut self, last: &Transition, ids: &mut BTreeSet<String>) -> Script {
        let (class, kind, outputs) = last;
        self.doubts.insert(kind.clone());
        let slug = |text: &str| {
            let words = text.split(|char: char| !char.is_alphanumeric());
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            words.join("-")
        };
        let name = format!("derived/{}/{}", slug(kind), slug(class));
        let mut id = name.clone();
        let mut number = 2;
        while !ids.insert(id.clone()) {
            id = format!("{name}-{number}");
            number += 1;
        }
        let outputs = if outputs.is_empty() {
            "nothing"
        } else {
            outputs
        };
        Script {
            id,
            title: format!("Session {class}; {kind}: {outputs}."),
            doubts: self.doubts.into_iter().collect(),
            steps: self.steps,
        }
    }
}

fn take(place: &mut Place, act: &Act) -> String {
    let Act::Input(input) = act else {
        place.restart();
        return String::new();
    };
    let from = match input {
        Input::Message { process, .. } | Input::Disconnected { process, .. } => {
            Some(process.clone())
        }
        Input::Timer(Timer::Lease(process) | Timer::Wait(_, process)) => Some(process.clone()),
        _ => None,
    };
    let outputs = place.step(input.clone());
    let told: Vec<String> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Persist(_) => None,
            Output::Send {
                process, message, ..
            } => {
                let to = if Some(process) == from.as_ref() {
                    ""
                } else {
                    " to another"
                };
                Some(format!("{}{to}", answer(message)))
            }
            Output::Disconnect { .. } => Some("the end of the connection".to_owned()),
        })
        .collect();
    told.join(" and ")
}

/// What kind of answer it is.
fn answer(message: &ToProcess) -> String {
    let text = format!("{message:?}");
    let word = |text: &str| {
        let end = text.find(|char: char| !char.is_alphanumeric());
        text[..end.unwrap_or(text.len())].to_owned()
    };
    match message {
        ToProcess::Granted {
            recall: Some(_), ..
        } => "Granted, recalled".to_owned(),
        ToProcess::Refused { why, .. } => format!("Refused ({})", word(&format!("{why:?}"))),
        ToProcess::Revoked { why, .. } => format!("Revoked ({})", word(&format!("{why:?}"))),
        ToProcess::Released { version: None, .. } => "Released without a version".to_owned(),
        ToProcess::Welcome { holds, gone, .. } => {
            format!("Welcome ({} known, {} ended)", holds.len(), gone.len())
        }
        ToProcess::Gone {
            renamed: Some(_), ..
        } => "Gone to another id".to_owned(),
        _ => word(&text),
    }
}

fn class_of(place: &Place, act: &Act) -> String {
    let (process, session) = match act {
        Act::Restart => (0, &SESSIONS[0]),
        Act::Input(Input::Message {
            process, message, ..
        }) => (super::place::index(process), session_of(message)),
        Act::Input(Input::Disconnected { process, .. }) => {
            (super::place::index(process), &SESSIONS[0])
        }
        Act::Input(Input::Timer(timer)) => match timer {
            Timer::Lease(process) => (super::place::index(process), &SESSIONS[0]),
            Timer::Wait(session, process) => (super::place::index(process), session),
            Timer::Remind(session) | Timer::Revoke(session) | Timer::Expire(session) => {
                (0, session)
            }
        },
        Act::Input(Input::Recall(session)) => (0, session),
    };
    place.class(process, session)
}

fn session_of(message: &ToStore) -> &SessionId {
    match message {
        ToStore::Acquire(wish) => &wish.session,
        ToStore::Cancel { session, .. }
        | ToStore::Commit { session, .. }
        | ToStore::Release { session, .. }
        | ToStore::Busy { session, .. }
        | ToStore::Destroy { session, .. }
        | ToStore::Rename { session, .. } => session,
        ToStore::Hello { .. } | ToStore::KeepAlive { .. } | ToStore::Goodbye => &SESSIONS[0],
    }
}

/// Why a black box cannot do that.
fn cannot(place: &Place, act: &Act) -> Option<&'static str> {
    match act {
        Act::Input(Input::Message {
            process, message, ..
        }) if !place.can_say(process, message) => {
            Some("needs a number that nobody outside was told")
        }
        Act::Input(Input::Timer(timer)) => place.race(timer),
        _ => None,
    }
}

fn delta(value: &'static str) -> Delta {
    let change = Change {
        name: ATTRIBUTES[0].clone(),
        value: Some(Value::from_static(value.as_bytes())),
    };
    [change].into_iter().collect()
}

/// What can be done at a place, with its kind.
fn acts(place: &Place) -> Vec<(String, Act)> {
    let mut all = Vec::new();
    for (process, name) in PROCESSES.iter().enumerate() {
        let mut say = |kind: &str, link: Link, message: ToStore| {
            let process = name.clone();
            let input = Input::Message {
                process,
                link,
                message,
            };
            all.push((kind.to_owned(), Act::Input(input)));
        };
        hellos(place, process, &mut say);
        if let Some(link) = place.sides[process].link {
            let mut own = |kind: &str, message| say(kind, link, message);
            says(place, process, &mut own);
            if process < 2 {
                let process = name.clone();
                let input = Input::Disconnected { process, link };
                all.push(("the connection is cut".to_owned(), Act::Input(input)));
            }
        }
    }
    for (_, timer) in place.store.timers() {
        let kind = match &timer {
            Timer::Lease(_) => "the lease ends",
            Timer::Remind(_) => "the recall is repeated",
            Timer::Revoke(_) => "the recall's deadline passes",
            Timer::Wait(..) => "the wait ends",
            Timer::Expire(_) => "the time to live ends",
        };
        all.push((kind.to_owned(), Act::Input(Input::Timer(timer))));
    }
    if place.store.stamps().last().epoch == EPOCH {
        all.push(("the store restarts".to_owned(), Act::Restart));
    }
    all
}

/// What a process has and waits for.
fn belongings(place: &Place, process: usize) -> (Vec<Hold>, Vec<Wish>) {
    let name = &PROCESSES[process];
    let (mut holds, mut waits) = (Vec::new(), Vec::new());
    for id in &SESSIONS {
        let Some(session) = place.store.session(id) else {
            continue;
        };
        if let Some(holder) = &session.record().head.holder
            && holder.process == *name
        {
            let (session, token) = (id.clone(), holder.token);
            holds.push(Hold { session, token });
        }
        let mut waiters = session.lock().waiters();
        if let Some(own) = waiters.find(|own| own.process == *name) {
            waits.push(Wish {
                session: id.clone(),
                request: own.request,
                known: None,
                patience: own.patience,
                ticket: Some(own.ticket),
            });
        }
    }
    (holds, waits)
}

type Say<'a> = &'a mut dyn FnMut(&str, Link, ToStore);

fn hellos(place: &Place, process: usize, say: Say<'_>) {
    let side = &place.sides[process];
    let link = side.next_link();
    let hello = |incarnation, holds, waits| ToStore::Hello {
        incarnation,
        sent: Time(1),
        holds,
        waits,
    };
    let (holds, waits) = belongings(place, process);
    let own = link.incarnation;
    if side.last_link == 0 {
        return say("first hello", link, hello(own, vec![], vec![]));
    }
    if side.last_link >= 4 {
        return;
    }
    let has_any = !holds.is_empty() || !waits.is_empty();
    if has_any {
        say("hello with all", link, hello(own, holds, waits.clone()));
    }
    if process > 0 {
        return;
    }
    say("hello with nothing", link, hello(own, vec![], vec![]));
    let ask = |request| Wish {
        session: SESSIONS[0].clone(),
        request,
        known: None,
        patience: Patience::Wait,
        ticket: None,
    };
    say(
        "hello that waits, with the next request",
        link,
        hello(own, vec![], vec![ask(side.next_request())]),
    );
    if side.last_request > 0 {
        say(
            "hello that waits, with the last request",
            link,
            hello(own, vec![], vec![ask(Request(side.last_request))]),
        );
    }
    if let Some(token) = side.old {
        let session = SESSIONS[0].clone();
        let old = vec![Hold { session, token }];
        say("hello with an old token", link, hello(own, old, vec![]));
    }
    if side.incarnation == 1 {
        let next = Link {
            incarnation: Incarnation(2),
            number: 1,
        };
        say(
            "hello of a new incarnation",
            next,
            hello(next.incarnation, vec![], vec![]),
        );
    } else {
        let last = Link {
            incarnation: Incarnation(1),
            number: 9,
        };
        say(
            "hello of an old incarnation",
            last,
            hello(last.incarnation, vec![], vec![]),
        );
    }
}

/// What a process that is connected says.
fn says(place: &Place, process: usize, say: &mut dyn FnMut(&str, ToStore)) {
    let side = &place.sides[process];
    for id in &SESSIONS {
        // The second session is there to be renamed to, and to be waited for.
        let is_first = *id == SESSIONS[0];
        if process == 2 && !is_first {
            continue;
        }
        let wish = |request, patience| {
            ToStore::Acquire(Wish {
                session: id.clone(),
                request,
                known: None,
                patience,
                ticket: None,
            })
        };
        say("acquire", wish(side.next_request(), Patience::Wait));
        let token = place
            .store
            .session(id)
            .and_then(|session| session.record().head.holder.clone())
            .filter(|holder| holder.process == PROCESSES[process])
            .map(|holder| holder.token);
        if let Some(token) = token {
            holder(place, process, id, token, say);
        }
        if is_first && process < 2 {
            say("try", wish(side.next_request(), Patience::Try));
        }
        if is_first && process == 0 {
            if side.last_request > 0 {
                let last = Request(side.last_request);
                say("acquire again", wish(last, Patience::Wait));
                say("acquire, request 0", wish(Request(0), Patience::Wait));
                let session = id.clone();
                say(
                    "cancel",
                    ToStore::Cancel {
                        session,
                        request: last,
                    },
                );
                let session = id.clone();
                say(
                    "cancel, request 0",
                    ToStore::Cancel {
                        session,
                        request: Request(0),
                    },
                );
            }
            if let Some(old) = side.old {
                stranger(place, process, id, (old, " under an old token"), say);
            }
            let others = place
                .store
                .session(id)
                .and_then(|own| own.record().head.holder.clone());
            if let Some(other) = others.filter(|other| other.process != PROCESSES[0]) {
                stranger(
                    place,
                    process,
                    id,
                    (other.token, " under another's token"),
                    say,
                );
            }
        }
    }
    if process == 0 {
        say("keep-alive", ToStore::KeepAlive { sent: Time(2) });
        say("goodbye", ToStore::Goodbye);
    }
}

fn version(place: &Place, id: &SessionId) -> Version {
    let session = place.store.session(id);
    session.map_or(Version::NONE, |session| session.record().head.version)
}

fn release(id: &SessionId, token: Token, base: Version, requeue: Option<Request>) -> ToStore {
    ToStore::Release {
        session: id.clone(),
        token,
        base,
        delta: delta("released"),
        requeue,
        idle_ms: 0,
    }
}

fn holder(
    place: &Place,
    process: usize,
    id: &SessionId,
    token: Token,
    say: &mut dyn FnMut(&str, ToStore),
) {
    let (session, base) = (id.clone(), version(place, id));
    let busy = |blocked_on| ToStore::Busy {
        session: id.clone(),
        token,
        inside: 1,
        blocked_on,
    };
    let other = SESSIONS.iter().find(|other| *other != id);
    let other = other.cloned().expect("two sessions");
    say("release", release(id, token, base, None));
    say("busy without the other session", busy(vec![other.clone()]));
    if process == 0 && *id == SESSIONS[0] {
        let requeue = Some(place.sides[process].next_request());
        say("release and ask again", release(id, token, base, requeue));
        say("busy", busy(vec![]));
        let commit = |base| ToStore::Commit {
            session: id.clone(),
            token,
            base,
            delta: delta("committed"),
        };
        say("commit", commit(base));
        if base != Version::NONE {
            say("commit to an older version", commit(Version::NONE));
        }
        let unchanged = ToStore::Release {
            session: session.clone(),
            token,
            base,
            delta: Delta::default(),
            requeue: None,
            idle_ms: 0,
        };
        say("release unchanged", unchanged);
        say(
            "destroy",
            ToStore::Destroy {
                session: session.clone(),
                token,
            },
        );
        say(
            "rename",
            ToStore::Rename {
                session,
                token,
                to: other,
            },
        );
    }
}

/// What may not change anything.
fn stranger(
    place: &Place,
    process: usize,
    id: &SessionId,
    (token, under): (Token, &str),
    say: &mut dyn FnMut(&str, ToStore),
) {
    let (session, base) = (id.clone(), version(place, id));
    let requeue = Some(place.sides[process].next_request());
    let commit = ToStore::Commit {
        session: session.clone(),
        token,
        base,
        delta: delta("lost"),
    };
    say(&format!("commit{under}"), commit);
    say(&format!("release{under}"), release(id, token, base, None));
    say(
        &format!("release and ask again{under}"),
        release(id, token, base, requeue),
    );
    let busy = ToStore::Busy {
        session: session.clone(),
        token,
        inside: 1,
        blocked_on: vec![],
    };
    say(&format!("busy{under}"), busy);
    say(
        &format!("destroy{under}"),
        ToStore::Destroy {
            session: session.clone(),
            token,
        },
    );
    let to = SESSIONS[1].clone();
    say(
        &format!("rename{under}"),
        ToStore::Rename { session, token, to },
    );
}
