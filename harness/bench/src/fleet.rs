//! The stores of a run: found on PATH, started on free loopback ports in a temporary folder, and stopped by a drop.

use crate::child::{Folder, Launch, Program};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The time limit until a server listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store with its durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Store {
    /// `tenure serve --durability buffered`.
    TenureBuffered,
    /// `tenure serve --durability durable`.
    TenureDurable,
    /// `appendonly yes`, and this `appendfsync`.
    Redis(&'static str),
    /// The server sets no durability: `synchronous_commit` belongs to a connection.
    Postgres,
}

impl Store {
    fn folder(self) -> String {
        match self {
            Self::TenureBuffered => "tenure-buffered".to_owned(),
            Self::TenureDurable => "tenure-durable".to_owned(),
            Self::Redis(fsync) => format!("redis-{fsync}"),
            Self::Postgres => "postgres".to_owned(),
        }
    }
}

/// A running store.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    launch: Launch,
    log: PathBuf,
    program: Program,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    pub(crate) fn runs(&mut self) -> Result<()> {
        self.program.runs()
    }

    /// Kills the server as a crash does.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.program.crash()
    }

    /// Starts the killed server again, without waiting until it is ready.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.program = self.launch.start(&self.log)?;
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            self.program.runs()?;
            ensure!(
                Instant::now() < until,
                "the server does not listen on {} after {} s",
                self.address,
                PATIENCE.as_secs()
            );
            thread::sleep(Duration::from_millis(2));
        }
        // The port may belong to another program, and the server to an error about it.
        thread::sleep(Duration::from_millis(20));
        self.program.runs()
    }
}

/// All stores of a run, started when first used.
pub(crate) struct Fleet {
    // The servers stop before their folder goes.
    servers: HashMap<Store, Result<Server, String>>,
    core: usize,
    starts: usize,
    folder: Folder,
}

impl Fleet {
    pub(crate) fn new(core: usize) -> Result<Self> {
        Ok(Self {
            servers: HashMap::new(),
            core,
            starts: 0,
            folder: Folder::new()?,
        })
    }

    /// Returns the running store, which is started by the first call. Calls `prepare` once, after the start. A store
    /// that did not start returns the same error again.
    pub(crate) fn get(
        &mut self,
        store: Store,
        prepare: impl FnOnce(&mut Server) -> Result<()>,
    ) -> Result<&mut Server> {
        if !self.servers.contains_key(&store) {
            let started = self.start(store, &[]).and_then(|mut server| {
                prepare(&mut server)?;
                Ok(server)
            });
            let started = started.map_err(|error| format!("{error:#}"));
            self.servers.insert(store, started);
        }
        let server = self.servers.get_mut(&store);
        let server = server.expect("the line above has inserted it");
        let server = server.as_mut().map_err(|error| anyhow!("{error}"))?;
        server.runs()?;
        Ok(server)
    }

    /// Starts a store of its own, for a run that fills, kills or measures it.
    pub(crate) fn start(&mut self, store: Store, more: &[&str]) -> Result<Server> {
        self.starts += 1;
        let folder = format!("{}-{}", store.folder(), self.starts);
        let folder = self.folder.path().join(folder);
        fs::create_dir_all(&folder).context("cannot create the folder of a server")?;
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .context("no loopback port is free")?;
        let mut launch = match store {
            Store::TenureBuffered => tenure(&folder, address, "buffered"),
            Store::TenureDurable => tenure(&folder, address, "durable"),
            Store::Redis(fsync) => redis(&folder, address, fsync),
            Store::Postgres => postgres(&folder, address),
        }?;
        launch.core = Some(self.core);
        launch
            .arguments
            .extend(more.iter().map(|&word| word.to_owned()));
        let log = folder.with_extension("log");
        let program = launch.start(&log)?;
        let mut server = Server {
            address,
            launch,
            log,
            program,
        };
        server.wait()?;
        Ok(server)
    }
}

fn launch(program: PathBuf, arguments: Vec<String>) -> Launch {
    Launch {
        program,
        arguments,
        core: None,
        user: None,
        quits: false,
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn tenure(folder: &Path, address: SocketAddr, durability: &str) -> Result<Launch> {
    let mut arguments = words(&format!(
        "serve --listen {address} --admin 127.0.0.1:0 --durability {durability} --log warn --data"
    ));
    arguments.push(folder.join("data").display().to_string());
    Ok(launch(std::env::current_exe()?, arguments))
}

fn redis(folder: &Path, address: SocketAddr, fsync: &str) -> Result<Launch> {
    let port = address.port();
    let mut arguments = words(&format!(
        "--port {port} --bind 127.0.0.1 --daemonize no --maxclients 20000 --appendonly yes --appendfsync {fsync}"
    ));
    // Without snapshots: the append-only file alone makes the data durable.
    arguments.extend(["--save".to_owned(), String::new(), "--dir".to_owned()]);
    arguments.push(folder.display().to_string());
    Ok(launch(redis_server()?, arguments))
}

fn postgres(folder: &Path, address: SocketAddr) -> Result<Launch> {
    let programs = postgres_programs()?;
    let user = unprivileged()?;
    if let Some((user, group)) = user {
        std::os::unix::fs::chown(folder, Some(user), Some(group))
            .context("cannot give the folder of PostgreSQL to its user")?;
    }
    let data = folder.join("data").display().to_string();
    let mut initdb = words("-U bench -A trust -E UTF8 --locale=C --no-sync -D");
    initdb.push(data.clone());
    let mut made = launch(programs.join("initdb"), initdb);
    made.user = user;
    let made = made.output()?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        bail!("initdb ended with {}: {}", made.status, said.trim());
    }
    let mut arguments = vec!["-D".to_owned(), data];
    let port = address.port();
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=200".to_owned(),
        "shared_buffers=256MB".to_owned(),
        "max_wal_size=4GB".to_owned(),
    ];
    for setting in settings {
        arguments.extend(["-c".to_owned(), setting]);
    }
    let mut launch = launch(programs.join("postgres"), arguments);
    launch.user = user;
    launch.quits = true;
    Ok(launch)
}

/// Returns a user that PostgreSQL agrees to run as: it refuses root. `None`: this process's own user.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |name: &str| {
        let line = users.lines().find_map(|line| line.strip_prefix(name))?;
        let mut fields = line.strip_prefix(":")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = user("postgres").or_else(|| user("nobody"));
    found
        .map(Some)
        .context("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`")
}

/// Returns a program of PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let all = std::env::split_paths(&path).map(|folder| folder.join(name));
    all.into_iter().find(|program| program.is_file())
}

fn redis_server() -> Result<PathBuf> {
    on_path("redis-server").context("no `redis-server` on PATH; apt-get install redis-server")
}

/// Returns the folder of `postgres` and `initdb`.
fn postgres_programs() -> Result<PathBuf> {
    let folder = |program: PathBuf| program.parent().map(Path::to_owned);
    let has_both = |folder: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    let of_path = on_path("initdb").and_then(folder).filter(has_both);
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.flatten().map(|version| version.path().join("bin"));
    let number = |folder: &PathBuf| {
        let version = folder.parent().and_then(Path::file_name);
        version.and_then(|name| name.to_string_lossy().parse::<u32>().ok())
    };
    let of_debian = versions.filter(has_both).max_by_key(number);
    of_path.or(of_debian).context(
        "no `initdb` and `postgres` on PATH or in /usr/lib/postgresql/*/bin; apt-get install postgresql",
    )
}

/// Returns the version of Redis, or the reason why there is none.
pub(crate) fn redis_version() -> Result<String> {
    let said = version_of(&redis_server()?)?;
    let version = said
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="));
    Ok(version.unwrap_or(&said).to_owned())
}

/// Returns the version of PostgreSQL, or the reason why there is none.
pub(crate) fn postgres_version() -> Result<String> {
    unprivileged()?;
    let said = version_of(&postgres_programs()?.join("postgres"))?;
    let version = said.split_whitespace().nth(2);
    Ok(version.unwrap_or(&said).to_owned())
}

fn version_of(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(Error::new);
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
