//! The programs of the book's tutorial, run as its reader runs them: `docs/src/tutorial.md` shows the programs of
//! `docs/tutorial` and the output of this test, and nothing else.
//!
//! `UPDATE_BOOK=1 cargo test -p tenure-cli --test tutorial` writes both into the page anew.
//!
//! A test without a harness: this binary is also each of the programs, when the variable [`PROGRAM`] names one.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use support::{PATIENCE, Store, assert_ends, stdout};

macro_rules! programs {
    ($($name:ident)+) => {
        $(
            mod $name {
                include!(concat!("../../../docs/tutorial/", stringify!($name), ".rs"));

                pub(super) fn run() -> Result<(), Box<dyn std::error::Error>> {
                    main()
                }
            }
        )+

        const SOURCES: &[(&str, &str)] = &[$(
            (
                concat!(stringify!($name), ".rs"),
                include_str!(concat!("../../../docs/tutorial/", stringify!($name), ".rs")),
            ),
        )+];

        fn run(program: &str) -> Result<(), Box<dyn Error>> {
            match program {
                $(stringify!($name) => $name::run(),)+
                _ => Err(format!("there is no program {program}").into()),
            }
        }
    };
}

programs! { first tasks shop }

/// The variable that makes this binary one of the programs.
const PROGRAM: &str = "TUTORIAL_PROGRAM";

/// The lease of the tutorial's store. Long enough that a busy machine ends no lease by itself.
const LEASE_MS: &str = "4000";

/// A program that runs, with its terminal.
struct Program {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<String>,
}

impl Program {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
            .env(PROGRAM, name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts again");
        let out = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let (sender, screen) = channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let keyboard = child.stdin.take();
        Self {
            child,
            keyboard,
            screen,
        }
    }

    /// Presses Enter.
    fn enter(&mut self) {
        let keyboard = self.keyboard.as_mut().expect("standard input is open");
        keyboard.write_all(b"\n").expect("the program reads");
    }

    /// Returns the next lines that the program prints.
    fn lines(&self, count: usize) -> String {
        let line = |_| {
            let line = self.screen.recv_timeout(PATIENCE);
            line.expect("the program prints a line") + "\n"
        };
        (0..count).map(line).collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program runs");
    }

    /// Closes standard input, and returns everything that the program prints until its end.
    fn end(mut self) -> String {
        drop(self.keyboard.take());
        let status = self.child.wait().expect("the program ends");
        assert!(status.success(), "{status}");
        self.screen.iter().map(|line| line + "\n").collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A log line with the time, the addresses and the folder of the book.
fn of_the_book(line: &str, store: &Store, data: &Path) -> String {
    let rest = line.split_once(' ').expect("a time, and the rest").1;
    let rest = rest.replace(&store.listen, "127.0.0.1:7420");
    let rest = rest.replace(&store.admin, "127.0.0.1:7421");
    let rest = rest.replace(&data.display().to_string(), "shop-data");
    format!("2026-11-24T23:39:50.842107Z {rest}")
}

/// Returns the output of `tenure ctl`.
fn ctl(store: &Store, arguments: &[&str]) -> String {
    let output = store.ctl(arguments);
    assert_ends(&output, 0, &[]);
    stdout(&output)
}

/// Returns the sessions with a waiter, with the waiting time of the book.
fn waiting(store: &Store) -> String {
    let text = ctl(store, &["sessions", "--waiting"]);
    let line = |line: &str| {
        let line = match line.strip_suffix(" ms").or_else(|| line.strip_suffix(" s")) {
            Some(rest) => {
                rest.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
                    .to_owned()
                    + "1.2 s"
            }
            None => line.to_owned(),
        };
        line + "\n"
    };
    text.lines().map(line).collect()
}

/// Waits until a process waits for the session.
fn wait_for_a_waiter(store: &Store) {
    let until = Instant::now() + PATIENCE;
    while !waiting(store).contains("1.2 s") {
        assert!(Instant::now() < until, "no process waits");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The name of a region of the page, and its text.
type Region = (&'static str, String);

fn text(name: &'static str, text: &str) -> Region {
    (name, format!("```text\n{text}```\n"))
}

/// Does everything that the tutorial tells its reader to do.
fn play() -> Vec<Region> {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut store = Store::start(folder.path(), &["--lease-ms", LEASE_MS]);
    let address = store.listen.clone();
    let mut regions: Vec<Region> = Vec::new();
    let log = [store.logged("reading the folder"), store.logged("ready")];
    let log: String = log
        .iter()
        .map(|line| of_the_book(line, &store, &data))
        .collect();
    regions.push(text("serve", &log));

    let twice: String = (0..2)
        .map(|_| Program::start("first", &[&address]).end())
        .collect();
    regions.push(text("first", &twice));
    regions.push(text("tasks", &Program::start("tasks", &[&address]).end()));

    // One process: its second lock is under the token of the first.
    let mut north = Program::start("shop", &[&address, "north"]);
    let mut seen = north.lines(1);
    for _ in 0..2 {
        north.enter();
        seen += &north.lines(2);
        north.enter();
        seen += &north.lines(1);
    }
    regions.push(text("cached", &seen));
    // The guard is dropped after the last line is printed.
    thread::sleep(Duration::from_millis(100));
    regions.push(text("holder", &ctl(&store, &["session", "e91a-44c2"])));

    // A second process, and back.
    let mut south = Program::start("shop", &[&address, "south"]);
    let mut seen = south.lines(1);
    for program in [&mut south, &mut north] {
        program.enter();
        seen += &program.lines(2);
        program.enter();
        seen += &program.lines(1);
    }
    regions.push(text("handoff", &seen));

    // The holder is killed with an apple that is not durable.
    north.enter();
    let mut seen = north.lines(2);
    south.enter();
    seen += &south.lines(1);
    regions.push(text("before the kill", &seen));
    wait_for_a_waiter(&store);
    regions.push(text("waiter", &waiting(&store)));
    north.signal(Signal::KILL);
    drop(north);
    let mut seen = south.lines(1);
    south.enter();
    seen += &south.lines(1);
    regions.push(text("after the kill", &seen));

    // The holder is stopped past its lease, and goes on.
    let mut north = Program::start("shop", &[&address, "north"]);
    let mut seen = north.lines(1);
    north.enter();
    seen += &north.lines(2);
    north.signal(Signal::STOP);
    south.enter();
    seen += &south.lines(2);
    south.enter();
    seen += &south.lines(1);
    north.signal(Signal::CONT);
    // The coarse clock of the kernel has ticked again.
    thread::sleep(Duration::from_millis(100));
    north.enter();
    seen += &north.lines(1);
    regions.push(text("stopped", &seen));

    regions.push(text("end", &(south.end() + &north.end())));
    regions
}

/// The page with a region replaced.
fn with_region(page: &str, name: &str, text: &str) -> String {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("the tutorial has no region {name}"));
    let (_, after) = rest
        .split_once("<!-- /generated -->")
        .expect("a region has an end");
    format!("{before}{begin}{text}<!-- /generated -->{after}")
}

/// The regions of the page that no program and no output fills.
fn unfilled<'a>(page: &'a str, regions: &[Region]) -> Vec<&'a str> {
    let names = page.lines().filter_map(|line| {
        let name = line.strip_prefix("<!-- generated: ")?;
        name.strip_suffix(" -->")
    });
    names
        .filter(|name| !regions.iter().any(|(own, _)| own == name))
        .collect()
}

fn the_tutorial_shows_what_its_reader_will_see() {
    let sources = SOURCES
        .iter()
        .map(|(name, source)| (*name, format!("```rust,no_run\n{source}```\n")));
    let regions: Vec<Region> = sources.chain(play()).collect();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/tutorial.md");
    let page = fs::read_to_string(&path).expect("docs/src/tutorial.md");
    assert_eq!(unfilled(&page, &regions), [""; 0]);
    let expected = regions.iter().fold(page.clone(), |page, (name, text)| {
        with_region(&page, name, text)
    });
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, expected).expect("the page can be written");
        return;
    }
    for (name, text) in &regions {
        assert!(
            page == with_region(&page, name, text),
            "docs/src/tutorial.md does not show {name} as it is:\n{text}\n\
             UPDATE_BOOK=1 cargo test -p tenure-cli --test tutorial"
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Ok(program) = std::env::var(PROGRAM) {
        return run(&program);
    }
    const NAME: &str = "the_tutorial_shows_what_its_reader_will_see";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_other =
        |argument: &String| !argument.starts_with('-') && !NAME.contains(argument.as_str());
    if arguments
        .iter()
        .any(|argument| argument == "--list" || is_other(argument))
    {
        return Ok(());
    }
    the_tutorial_shows_what_its_reader_will_see();
    println!("test {NAME} ... ok");
    Ok(())
}
