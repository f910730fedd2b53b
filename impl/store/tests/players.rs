//! A random test of the store. Several processes send random, well-formed messages over connections that break
//! anywhere. The store has almost no session in memory and is replaced again and again. At the end, every acknowledged
//! change is there, and every request has ended.

use crate::support::{PATIENCE, Player, Running, config, encode, id};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tenure_engine::Memory;
use tenure_protocol::attributes::{Change, Value};
use tenure_protocol::message::{AcquireRequest, Commit, GrantRef, Granted, Release, WaitMode};
use tenure_protocol::{
    AttributeName, Delta, Request, SessionId, Ticket, Time, ToProcess, ToStore, Token, Version,
};
use tenure_store::{Config, Stop};
use tenure_wire::{FromProcess, FromStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

const SESSIONS: u64 = 6;
const PLAYERS: u64 = 5;
const STORES: u64 = 6;
/// The number of steps of each player per store.
const STEPS: u64 = 150;

/// The shared knowledge of all players.
#[derive(Default)]
struct Book {
    /// The owner of each token.
    tokens: HashMap<(SessionId, Token), String>,
    /// The acknowledged writes, by the version that they made.
    writes: BTreeMap<(SessionId, Version), (Token, String, u64)>,
    /// The last acknowledged write of each player to each session, and the last one sent.
    counts: HashMap<(SessionId, String), (u64, u64)>,
}

impl Book {
    fn granted(&mut self, session: &SessionId, token: Token, name: &str) {
        let key = (session.clone(), token);
        let owner = self.tokens.entry(key).or_insert_with(|| name.to_owned());
        assert_eq!(owner, name, "{session}: two processes have the same token");
    }

    fn written(&mut self, session: &SessionId, version: Version, token: Token, who: (&str, u64)) {
        let write = (token, who.0.to_owned(), who.1);
        let key = (session.clone(), version);
        let known = self.writes.entry(key).or_insert_with(|| write.clone());
        assert_eq!(*known, write, "{session}: two writes have the same version");
        let counts = self.counts.entry((session.clone(), who.0.to_owned()));
        let counts = counts.or_default();
        counts.0 = counts.0.max(who.1);
    }
}

/// A write without an answer.
#[derive(Clone)]
struct Write {
    count: u64,
    delta: Delta,
    is_release: bool,
}

struct Held {
    token: Token,
    version: Version,
    write: Option<Write>,
}

/// A process with random actions.
struct Wild {
    name: String,
    seed: u64,
    book: Arc<Mutex<Book>>,
    address: watch::Receiver<Option<SocketAddr>>,
    link: u64,
    requests: u64,
    connection: Option<Player>,
    held: HashMap<SessionId, Held>,
    waits: HashMap<SessionId, (Request, Option<Ticket>)>,
}

impl Wild {
    fn chance(&mut self, of: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) % of
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panicked")
    }

    /// Sends the bytes in pieces. The connection sometimes breaks between two pieces.
    async fn send(&mut self, bytes: Bytes, may_break: bool) {
        let breaks = may_break && self.chance(60) == 0;
        let cut = self.chance(bytes.len() as u64 + 1) as usize;
        let Some(player) = &mut self.connection else {
            return;
        };
        let mut sent = player.stream.write_all(&bytes[..cut]).await;
        if breaks {
            self.connection = None;
            return;
        }
        if sent.is_ok() {
            sent = player.stream.write_all(&bytes[cut..]).await;
        }
        if sent.is_err() {
            self.connection = None;
        }
    }

    async fn say(&mut self, message: ToStore) {
        let breaks = self.address.borrow().is_some();
        self.send(encode(&FromProcess::Message(message)), breaks)
            .await;
    }

    /// Connects to the current store, and lists all grants and waits.
    async fn connect(&mut self) {
        let Some(address) = *self.address.borrow() else {
            return;
        };
        self.link += 1;
        let Ok(stream) = TcpStream::connect(address).await else {
            return;
        };
        let mut player = Player::over(stream, &self.name, 1, self.link);
        let hold = |(session, held): (&SessionId, &Held)| GrantRef {
            session: session.clone(),
            token: held.token,
        };
        let acquire = |(session, wait): (&SessionId, &(Request, Option<Ticket>))| AcquireRequest {
            session: session.clone(),
            request: wait.0,
            known: None,
            wait_mode: WaitMode::Wait,
            ticket: wait.1,
            existing: false,
        };
        let holds = self.held.iter().map(hold).collect();
        let waits = self.waits.iter().map(acquire).collect();
        let hello = player.hello_bytes(holds, waits);
        if player.stream.write_all(&hello).await.is_ok() {
            self.connection = Some(player);
        }
    }

    fn any(&mut self) -> SessionId {
        id(&format!("s{}", self.chance(SESSIONS)))
    }

    /// Repeats an unanswered write unchanged, or sends a new one.
    async fn write(&mut self, session: SessionId, is_release: bool) {
        let name = self.name.clone();
        let Some(held) = self.held.get_mut(&session) else {
            return;
        };
        let write = held.write.get_or_insert_with(|| {
            let mut book = self.book.lock().expect("nobody panicked");
            let counts = book.counts.entry((session.clone(), name.clone()));
            let counts = counts.or_default();
            counts.1 += 1;
            let change = Change {
                name: AttributeName::new(name).expect("a name"),
                value: Some(Value::from(counts.1.to_string())),
            };
            Write {
                count: counts.1,
                delta: [change].into_iter().collect(),
                is_release,
            }
        });
        let (token, base, delta) = (held.token, held.version, write.delta.clone());
        let message = if write.is_release {
            ToStore::Release(Release {
                session,
                token,
                base,
                delta,
                requeue: None,
                idle_ms: 0,
            })
        } else {
            ToStore::Commit(Commit {
                session,
                token,
                base,
                delta,
            })
        };
        self.say(message).await;
    }

    async fn act(&mut self) {
        if self.connection.is_none() {
            return self.connect().await;
        }
        let session = self.any();
        match self.chance(10) {
            0..4 if !self.held.contains_key(&session) => {
                let request = match self.waits.get(&session) {
                    Some((request, _)) => *request,
                    None => {
                        self.requests += 1;
                        Request(self.requests)
                    }
                };
                let wait = self.waits.entry(session.clone()).or_insert((request, None));
                let ticket = wait.1;
                let wait_mode = if self.chance(4) == 0 {
                    WaitMode::Try
                } else {
                    WaitMode::Wait
                };
                let acquire = AcquireRequest {
                    session,
                    request,
                    known: None,
                    wait_mode,
                    ticket,
                    existing: false,
                };
                self.say(ToStore::Acquire(acquire)).await;
            }
            4..6 => self.write(session, false).await,
            6 => self.write(session, true).await,
            7 => {
                if let Some((request, _)) = self.waits.get(&session) {
                    let request = *request;
                    self.say(ToStore::Cancel { session, request }).await;
                }
            }
            8 => {
                if let Some(held) = self.held.get(&session) {
                    let busy = ToStore::Busy {
                        token: held.token,
                        session,
                        inside: 1,
                        blocked_on: self.waits.keys().cloned().collect(),
                    };
                    self.say(busy).await;
                }
            }
            _ => self.say(ToStore::KeepAlive { sent: Time(1) }).await,
        }
    }

    /// Reads one item, if it comes soon.
    async fn hear(&mut self, soon: Duration) -> bool {
        let Some(player) = &mut self.connection else {
            return false;
        };
        match timeout(soon, player.item()).await {
            Err(_) => false,
            Ok(Some(FromStore::Message(message))) => {
                self.on_message(message);
                true
            }
            Ok(Some(FromStore::Fault(_)) | None) => {
                self.connection = None;
                false
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one match, an arm for each message")]
    fn on_message(&mut self, message: ToProcess) {
        match message {
            ToProcess::Welcome { holds, .. } => {
                let known = |session: &SessionId, held: &Held| {
                    holds
                        .iter()
                        .any(|hold| hold.session == *session && hold.token == held.token)
                };
                self.held.retain(|session, held| known(session, held));
            }
            ToProcess::Granted(Granted {
                session,
                request,
                token,
                version,
                ..
            }) => {
                self.book().granted(&session, token, &self.name);
                if self
                    .waits
                    .get(&session)
                    .is_some_and(|wait| wait.0 == request)
                {
                    self.waits.remove(&session);
                    let held = Held {
                        token,
                        version,
                        write: None,
                    };
                    self.held.insert(session, held);
                }
            }
            ToProcess::Queued {
                session,
                request,
                ticket,
            } => {
                if let Some(wait) = self.waits.get_mut(&session)
                    && wait.0 == request
                {
                    wait.1 = Some(ticket);
                }
            }
            ToProcess::Committed {
                session,
                token,
                base,
                version,
            } => {
                if let Some(held) = self.held.get_mut(&session)
                    && (held.token, held.version) == (token, base)
                    && let Some(write) = held.write.take()
                {
                    held.version = version;
                    let who = (&*self.name, write.count);
                    let mut book = self.book.lock().expect("nobody panicked");
                    book.written(&session, version, token, who);
                }
            }
            ToProcess::Released {
                session,
                token,
                version,
                ..
            } => {
                if self
                    .held
                    .get(&session)
                    .is_some_and(|held| held.token == token)
                    && let Some(write) = self.held.remove(&session).and_then(|held| held.write)
                    && let Some(version) = version
                {
                    let who = (&*self.name, write.count);
                    self.book().written(&session, version, token, who);
                }
            }
            ToProcess::Revoked { session, token, .. } | ToProcess::Gone { session, token, .. } => {
                if self
                    .held
                    .get(&session)
                    .is_some_and(|held| held.token == token)
                {
                    self.held.remove(&session);
                }
            }
            ToProcess::Refused {
                session, request, ..
            } => {
                if self
                    .waits
                    .get(&session)
                    .is_some_and(|wait| wait.0 == request)
                {
                    self.waits.remove(&session);
                }
            }
            ToProcess::LeaseEnded => {
                self.held.clear();
                self.connection = None;
            }
            ToProcess::Recall { .. } | ToProcess::Alive { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    async fn play(mut self) -> Self {
        for _ in 0..STEPS {
            self.act().await;
            while self.hear(Duration::from_millis(1)).await {}
        }
        self
    }

    /// Sends no new request, releases all grants, and waits until every request has ended.
    async fn end(mut self) {
        while !self.held.is_empty() || !self.waits.is_empty() {
            if self.connection.is_none() {
                self.connect().await;
            }
            for session in self.held.keys().cloned().collect::<Vec<_>>() {
                self.write(session, true).await;
            }
            self.say(ToStore::KeepAlive { sent: Time(1) }).await;
            while self.hear(Duration::from_millis(20)).await {}
        }
    }
}

fn own_config() -> Config {
    let mut config = config(Path::new("unused"));
    (config.lease, config.remind) = (Duration::from_millis(400), Duration::from_millis(20));
    (config.recall, config.wait) = (Duration::from_millis(60), Duration::from_millis(150));
    config.evict = Duration::from_millis(0);
    config.limits.memory_sessions_max = 1;
    config
}

async fn game(seed: u64) {
    let memory = Memory::new();
    let book = Arc::new(Mutex::new(Book::default()));
    let (tell, address) = watch::channel(None);
    let wild = |at: u64| Wild {
        name: format!("p{at}"),
        seed: (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (at + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93),
        book: Arc::clone(&book),
        address: address.clone(),
        link: 0,
        requests: 0,
        connection: None,
        held: HashMap::new(),
        waits: HashMap::new(),
    };
    let mut players: Vec<Wild> = (0..PLAYERS).map(wild).collect();
    let mut former: Option<Running> = None;
    for at in 0..STORES {
        // Every second store takes over while the previous one still runs, until the engine's fence stops that one.
        if at % 2 == 0
            && let Some(store) = former.take()
        {
            store.stop(Stop::Fast).await.expect("no failure");
        }
        let store = Running::with_engine(own_config(), Box::new(memory.clone())).await;
        if at % 2 == 0 {
            tell.send_replace(Some(store.address));
        }
        let plays = players.drain(..).map(|wild| tokio::spawn(wild.play()));
        let plays: Vec<_> = plays.collect();
        if at % 2 == 1 {
            tell.send_replace(Some(store.address));
        }
        for play in plays {
            players.push(play.await.expect("no player panicked"));
        }
        if let Some(store) = former.replace(store) {
            // The former store was fenced, or did nothing since.
            let _ = store.stop(Stop::Fast).await;
        }
    }
    let ends = players.drain(..).map(|wild| tokio::spawn(wild.end()));
    for end in ends.collect::<Vec<_>>() {
        let end = timeout(PATIENCE, end)
            .await
            .expect("every request of this player ends within PATIENCE");
        end.expect("no player panicked");
    }
    let store = former.expect("the loop has started at least one store");
    store.stop(Stop::Fast).await.expect("no failure");
    judge(&book.lock().expect("nobody panicked"), &memory);
}

fn judge(book: &Book, memory: &Memory) {
    let records = memory.records();
    assert!(
        book.writes.len() > 50,
        "too few writes were acknowledged for this test"
    );
    // In the order of versions, tokens never decrease: the writes of two grants do not mix.
    let mut last: Option<(&SessionId, Token)> = None;
    for ((session, version), (token, name, _)) in &book.writes {
        if let Some((before, former)) = last
            && before == session
        {
            assert!(
                former <= *token,
                "{session} {version}: {name} wrote with an old token"
            );
        }
        last = Some((session, *token));
    }
    for ((session, name), (acknowledged, sent)) in &book.counts {
        let name = AttributeName::new(name.clone()).expect("a name");
        let record = records.get(session);
        let value = record.and_then(|record| record.value(&name));
        let count = value.map_or(0, |value| {
            let text = std::str::from_utf8(value).expect("a number");
            text.parse::<u64>().expect("a number")
        });
        assert!(
            (*acknowledged..=*sent).contains(&count),
            "{session}: {name} wrote {sent}, {acknowledged} were acknowledged, {count} are there"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_are_kept_tokens_are_unique_and_every_request_ends() {
    let seeds = match std::env::var("TENURE_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (1..=3).collect(),
    };
    for seed in seeds {
        println!("to repeat: TENURE_SEED={seed} cargo test -p tenure-store players");
        game(seed).await;
    }
}
