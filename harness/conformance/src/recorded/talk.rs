//! Decodes the frames of a trace, and checks the rules about connections that no machine knows: the first and the last
//! message.

use super::Finding;
use super::entry::{Entry, Place, Way, What};
use crate::case::Side;
use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet};
use tenure_protocol::{Incarnation, Link, ProcessId, Time, ToProcess, ToStore};
use tenure_wire::{DecodeError, Decoder, FrameLimits, FromProcess, FromStore, Item, Problem};

/// A stream of bytes, as observed at one place.
struct Stream<T> {
    decoder: Decoder<T>,
    bytes: BytesMut,
    items: usize,
    /// The kind of the last item, if it was a fault or a goodbye.
    last: Option<&'static str>,
    is_broken: bool,
}

impl<T: Item> Stream<T> {
    fn new() -> Self {
        Self {
            decoder: Decoder::new(FrameLimits::default()),
            bytes: BytesMut::new(),
            items: 0,
            last: None,
            is_broken: false,
        }
    }

    /// Returns the complete items, and the reason why the following bytes cannot be decoded.
    fn read(&mut self, bytes: &[u8]) -> (Vec<T>, Option<DecodeError>) {
        self.bytes.extend_from_slice(bytes);
        let mut items = Vec::new();
        loop {
            match self.decoder.decode(&mut self.bytes) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return (items, None),
                Err(why) => {
                    self.is_broken = true;
                    return (items, Some(why));
                }
            }
        }
    }
}

/// The decoded content of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    ToStore(ToStore),
    ToProcess(ToProcess),
    /// The end of the stream after a fault.
    Fault,
}

/// The identity of a connection according to its hello.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name {
    pub(super) process: ProcessId,
    pub(super) link: Link,
}

/// The streams of all connections. See the [module](self).
pub(super) struct Talk {
    /// The only judged side, if not both are judged.
    judged: Option<Side>,
    up: BTreeMap<(String, Place), Stream<FromProcess>>,
    down: BTreeMap<(String, Place), Stream<FromStore>>,
    names: BTreeMap<String, Name>,
    welcome: BTreeSet<String>,
    /// The last link number of each start, and the last send time that it stated.
    links: BTreeMap<(ProcessId, Incarnation), u64>,
    sent: BTreeMap<(ProcessId, Incarnation), Time>,
}

impl Talk {
    pub(super) fn new(judged: Option<Side>) -> Self {
        Self {
            judged,
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            names: BTreeMap::new(),
            welcome: BTreeSet::new(),
            links: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Returns the process and link of a connection, once its `Hello` was recorded.
    pub(super) fn name(&self, who: &str) -> Option<&Name> {
        self.names.get(who)
    }

    /// Returns the items that this entry completes, and the error behind them. Returns nothing for a stream that was
    /// already refused.
    pub(super) fn hear(&mut self, entry: &Entry) -> (Vec<Said>, Result<(), Finding>) {
        let mut all = Vec::new();
        let heard = match &entry.what {
            What::Bytes(Way::ToStore, bytes) => self.hear_process(entry, bytes, &mut all),
            What::Bytes(Way::ToProcess, bytes) => self.hear_store(entry, bytes, &mut all),
            _ => Ok(()),
        };
        (all, heard)
    }

    fn hear_process(
        &mut self,
        entry: &Entry,
        bytes: &[u8],
        all: &mut Vec<Said>,
    ) -> Result<(), Finding> {
        let key = (entry.who.clone(), entry.at);
        let stream = self.up.entry(key.clone()).or_insert_with(Stream::new);
        if stream.is_broken {
            return Ok(());
        }
        let (items, why) = stream.read(bytes);
        for item in items {
            // An item that was observed on departure was judged then.
            if entry.at != Place::Store {
                let minded = self.mind(entry, &item);
                if minded.is_err() {
                    self.up.get_mut(&key).expect("just read").is_broken = true;
                }
                minded?;
            }
            let stream = self.up.get_mut(&key).expect("just read");
            stream.items += 1;
            stream.last = match &item {
                FromProcess::Fault(_) => Some("wire.fault-last"),
                FromProcess::Message(ToStore::Goodbye) => Some("lease.goodbye-last"),
                _ => stream.last,
            };
            match item {
                FromProcess::Hello(opening) => {
                    let (process, link, hello) = opening.into_parts();
                    let name = Name { process, link };
                    let mut others = self.names.iter().filter(|(who, _)| **who != entry.who);
                    if others.any(|(_, other)| *other == name) {
                        // The other side cannot decode the stream either.
                        self.up.get_mut(&key).expect("just read").is_broken = true;
                        return Ok(());
                    }
                    self.names.insert(entry.who.clone(), name);
                    all.push(Said::ToStore(hello));
                }
                FromProcess::Message(message) => all.push(Said::ToStore(message)),
                FromProcess::Fault(_) => all.push(Said::Fault),
            }
        }
        // An error is reported where it left, and not again where it arrived.
        let why = why.filter(|_| entry.at != Place::Store);
        why.map_or(Ok(()), |why| Err(garbled(entry, &why)))
    }

    /// Checks whether a process may send the item now, whatever its contents.
    fn mind(&mut self, entry: &Entry, item: &FromProcess) -> Result<(), Finding> {
        let key = (entry.who.clone(), entry.at);
        let (items, last) = self
            .up
            .get(&key)
            .map_or((0, None), |own| (own.items, own.last));
        let wrong =
            |rule, allowed: &str| Err(Finding::new(entry.line, rule, allowed, format!("{item:?}")));
        if let Some(rule) = last.filter(|_| self.judged != Some(Side::Store)) {
            return wrong(rule, "nothing more on that connection");
        }
        match item {
            FromProcess::Fault(_) => Ok(()),
            FromProcess::Hello(_) if items > 0 => {
                wrong("connect.hello-alone", "anything but another Hello")
            }
            FromProcess::Message(_) if items == 0 => wrong("connect.hello-first", "a Hello first"),
            // A store does not check the remaining rules.
            _ if self.judged == Some(Side::Store) => Ok(()),
            FromProcess::Hello(opening) => {
                let start = (opening.process.clone(), opening.link.incarnation);
                let last = self.links.insert(start.clone(), opening.link.number);
                if last.is_some_and(|last| opening.link.number <= last) {
                    return wrong("connect.link-rises", "a Hello with a greater link number");
                }
                self.mind_time(entry, item, (start, opening.sent))
            }
            FromProcess::Message(_) if !self.welcome.contains(&entry.who) => {
                wrong("connect.hello-alone", "nothing before the Welcome")
            }
            FromProcess::Message(ToStore::KeepAlive { sent }) => {
                let Some(name) = self.names.get(&entry.who) else {
                    return Ok(());
                };
                let start = (name.process.clone(), name.link.incarnation);
                self.mind_time(entry, item, (start, *sent))
            }
            FromProcess::Message(_) => Ok(()),
        }
    }

    fn mind_time(
        &mut self,
        entry: &Entry,
        item: &FromProcess,
        (start, sent): ((ProcessId, Incarnation), Time),
    ) -> Result<(), Finding> {
        let last = self.sent.insert(start, sent);
        if last.is_some_and(|last| sent < last) {
            let allowed = format!("a time that is not before {}", last.unwrap_or_default().0);
            return Err(Finding::new(
                entry.line,
                "time.monotonic",
                allowed,
                format!("{item:?}"),
            ));
        }
        Ok(())
    }

    fn hear_store(
        &mut self,
        entry: &Entry,
        bytes: &[u8],
        all: &mut Vec<Said>,
    ) -> Result<(), Finding> {
        let key = (entry.who.clone(), entry.at);
        let stream = self.down.entry(key).or_insert_with(Stream::new);
        if stream.is_broken {
            return Ok(());
        }
        let (items, why) = stream.read(bytes);
        for item in items {
            if let (Some(rule), false) = (stream.last, entry.at == Place::Process) {
                let seen = format!("{item:?}");
                return Err(Finding::new(
                    entry.line,
                    rule,
                    "nothing more on that connection",
                    seen,
                ));
            }
            match item {
                FromStore::Message(message) => {
                    if matches!(message, ToProcess::Welcome { .. }) && entry.at != Place::Store {
                        self.welcome.insert(entry.who.clone());
                    }
                    all.push(Said::ToProcess(message));
                }
                FromStore::Fault(_) => {
                    stream.last = Some("wire.fault-last");
                    all.push(Said::Fault);
                }
            }
        }
        let why = why.filter(|_| entry.at != Place::Process);
        why.map_or(Ok(()), |why| Err(garbled(entry, &why)))
    }
}

/// Returns the finding for bytes that no side may send, with the rule by which a reader refuses them.
fn garbled(entry: &Entry, why: &DecodeError) -> Finding {
    let rule = match &why.problem {
        Problem::Version(_) => "wire.version",
        Problem::FrameTooLarge { .. } => "wire.too-large",
        Problem::TooMany { .. } => "wire.too-many",
        Problem::KindUnknown(_) => "wire.unknown-critical",
        Problem::KindUnexpected(_) => "wire.wrong-side",
        Problem::MoreUnexpected(_) => "wire.more-unexpected",
        Problem::PartMissing { .. } => "wire.part-missing",
        Problem::PartsDiffer => "wire.parts-differ",
        Problem::TooDeep => "wire.nested-too-deep",
        Problem::Key(_) => "wire.key-range",
        Problem::KeyDuplicate(_) => "wire.duplicate-key",
        Problem::KeyMissing(_) => "wire.missing-key",
        Problem::Type { .. } | Problem::Elements { .. } | Problem::Number { .. } => {
            "wire.wrong-type"
        }
        Problem::NameLength(_) => "wire.name-length",
        Problem::AttributeDuplicate => "wire.name-twice",
        Problem::Choice { .. } => "wire.unknown-choice",
        Problem::Truncated
        | Problem::Trailing
        | Problem::IllFormed(_)
        | Problem::Indefinite
        | Problem::NotUtf8 => "wire.ill-formed",
    };
    let allowed = "frames that a reader accepts";
    Finding::new(entry.line, rule, allowed, why.to_string())
}
