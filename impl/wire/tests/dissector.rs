//! Tests of the Wireshark dissector in `docs/tenure.lua`: it knows every kind, and where tshark is installed it decodes
//! the vectors.

use crate::golden::file::{self, Valid, hex};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tenure_wire::kind;

fn dissector() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tenure.lua")
}

#[test]
fn the_dissector_knows_every_kind() {
    let text = fs::read_to_string(dissector()).expect("the dissector");
    let lines = text
        .lines()
        .filter(|line| line.trim_start().starts_with("[0x"));
    let found: Vec<&str> = lines.map(str::trim).collect();
    let expected: Vec<String> = kind::ALL
        .iter()
        .map(|&kind| format!("[{kind:#04x}] = {:?},", kind::name(kind).expect("known")))
        .collect();
    assert_eq!(found, expected);
}

/// Formats streams for text2pcap: offsets, then bytes. A new packet begins where the offset is 0.
fn dump(streams: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for stream in streams {
        for (at, line) in stream.chunks(16).enumerate() {
            write!(text, "{:06x}", at * 16).expect("a string");
            for byte in line {
                write!(text, " {byte:02x}").expect("a string");
            }
            text.push('\n');
        }
    }
    text
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !errors.contains("Lua"),
        "{command:?}: {errors}"
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn tshark_decodes_the_vectors() {
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("skipped: tshark is not installed");
        return;
    }
    let folder = std::env::temp_dir().join(format!("tenure-wire-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let (text, capture) = (folder.join("vectors.txt"), folder.join("vectors.pcap"));
    // Write the vectors of one direction as one connection. A vector of several frames is one packet.
    let vectors = file::read::<Valid>("valid.json").vectors;
    let streams: Vec<Vec<u8>> = vectors
        .iter()
        .filter(|vector| vector.from == "store" && vector.canonical)
        .map(|vector| hex(&vector.hex))
        .collect();
    fs::write(&text, dump(&streams)).expect("the dump");
    output(
        Command::new("text2pcap")
            .args(["-q", "-T", "7420,40000"])
            .arg(&text)
            .arg(&capture),
    );
    let script = format!("lua_script:{}", dissector().display());
    let found = output(
        Command::new("tshark")
            .args(["-X", &script, "-r"])
            .arg(&capture)
            .args([
                "-T",
                "fields",
                "-e",
                "tenure.kind",
                "-e",
                "tenure.request",
                "-e",
                "tenure.length",
            ])
            .args(["-e", "_ws.malformed"]),
    );
    let expected: String = streams
        .iter()
        .map(|stream| {
            let header = tenure_wire::Header::read(stream.first_chunk().expect("a header"));
            format!(
                "{:#04x}\t{}\t{}\t\n",
                header.kind, header.request, header.length
            )
        })
        .collect();
    fs::remove_dir_all(&folder).expect("the test's own folder can be removed");
    assert_eq!(found, expected);
}
