//! The scripts that the conformance suite plays are those that the checker exports now.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p tenure-checker --test scripts` writes them anew.

use tenure_checker::scripts::{self, Export};

fn is_checked_in(name: &str, export: &Export) {
    let path = format!(
        "{}/../../harness/conformance/src/store/derived/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = export.to_json();
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        std::fs::write(&path, &text).expect("the file is written");
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        file == text,
        "{path} is not what the checker exports; UPDATE_SCRIPTS=1 cargo test -p tenure-checker --test scripts"
    );
}

#[test]
fn transitions() {
    is_checked_in("transitions", &scripts::transitions());
}

#[test]
fn sometimes() {
    is_checked_in("sometimes", &scripts::sometimes());
}
